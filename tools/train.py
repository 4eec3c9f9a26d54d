"""Train a model: python tools/train.py CONFIG [options]."""

import argparse

from mask_dino.cli import common, training
from mask_dino.cli.help import make_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        'Train a model of MMDetection or MMSegmentation. Data, config and checkpoint are checked '
        'before the first step. The first line of the output names the log file, which has '
        'everything.',
        'python tools/train.py configs/maskdino/maskdino_tiny_shapes.py --work-dir work_dirs/shapes',
        'python tools/train.py my_configs/mine.py --amp --resume',
        exit_codes='0: the training is complete; 1: an error in the data, in a checkpoint or on the disk, '
        'which the last line names, or losses that are NaN; 2: wrong arguments',
    )
    parser.add_argument('config', help='config file')
    common.add_arguments(parser)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train in mixed precision: float16 with dynamic loss scaling on a GPU, bfloat16 on the CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size: learning rate * batch size / base_batch_size of the config',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue a training from CHECKPOINT or, without one, from the newest readable one in WORK_DIR '
        '(default: start a new training)',
    )
    return parser


def main() -> None:
    """Train."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        config = common.load_config(args)
        if args.amp:
            training.enable_amp(config)
        if args.auto_scale_lr:
            training.enable_auto_scale_lr(config)
        if args.resume or training.resumes_by_config(config):
            training.resume_training(config, args.resume or 'auto')
        if config.get('load_from'):
            common.check_checkpoint(config.load_from, 'load_from')
        runner = common.build_runner(config, 'train_dataloader', 'val_dataloader')
    except common.UsageError as error:
        parser.error(str(error))
    runner.train()


if __name__ == '__main__':
    common.run_tool(main)
