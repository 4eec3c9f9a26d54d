"""Test a model: python tools/test.py CONFIG CHECKPOINT [options]."""

import argparse

from mask_dino.cli import common, testing
from mask_dino.cli.help import make_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        'Test a model of MMDetection or MMSegmentation on the test data of its config, with the '
        'evaluators of the config.',
        'python tools/test.py configs/maskdino/maskdino_tiny_shapes-panoptic.py work_dirs/demo/weights.pth',
        'python tools/test.py configs/maskdino/maskdino_tiny_shapes-panoptic.py '
        'work_dirs/demo/weights.pth --show-dir drawn',
        exit_codes='0: done; 1: an error in the data, in the checkpoint or in the predictions, which the '
        'last line names; 2: wrong arguments',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    common.add_arguments(parser)
    parser.add_argument(
        '--out',
        help='where to save the predictions: a .pkl file for offline evaluation with MMDetection, '
        'a directory for PNG files of class indices with MMSegmentation (default: nowhere)',
    )
    parser.add_argument('--show', action='store_true', help='show the predictions in windows')
    parser.add_argument(
        '--show-dir',
        help='directory to save the drawn predictions in; with MMDetection, a relative one lies in WORK_DIR/TIMESTAMP '
        '(default: nothing is drawn)',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each image (default: 2)'
    )
    parser.add_argument(
        '--tta', action='store_true', help="test-time augmentation with the config's tta_model"
    )
    return parser


def main() -> None:
    """Test."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        config = common.load_config(args)
        common.check_checkpoint(args.checkpoint, 'CHECKPOINT')
        config.load_from, config.resume = args.checkpoint, False
        if args.show or args.show_dir:
            testing.draw_results(config, args.show, args.show_dir, args.wait_time)
        if args.tta:
            testing.add_augmentation(config)
        if args.out:
            testing.save_predictions(config, args.out)
        runner = common.build_runner(config, 'test_dataloader')
    except common.UsageError as error:
        parser.error(str(error))
    runner.test()


if __name__ == '__main__':
    common.run_tool(main)
