"""Train a model: python tools/train.py CONFIG [options]."""

import argparse

from mask_dino.cli import common, training


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description='Train a model of MMDetection or MMSegmentation')
    parser.add_argument('config', help='config file')
    common.add_arguments(parser)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train in mixed precision: float16 with dynamic loss scaling on a GPU, bfloat16 on the CPU',
    )
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue a training from CHECKPOINT or, without one, from the newest readable one in WORK_DIR',
    )
    return parser


def main() -> None:
    """Train."""
    parser = arguments()
    args = parser.parse_args()
    try:
        config = common.load_config(args)
        if args.amp:
            training.enable_amp(config)
        if args.auto_scale_lr:
            training.enable_auto_scale_lr(config)
        if args.resume or training.resumes_by_config(config):
            training.resume(config, args.resume or 'auto')
        if config.get('load_from'):
            common.check_checkpoint(config.load_from, 'load_from')
        runner = common.build_runner(config, 'train_dataloader', 'val_dataloader')
    except common.UsageError as error:
        parser.error(str(error))
    runner.train()
    common.leave()


if __name__ == '__main__':
    common.run_tool(main)
