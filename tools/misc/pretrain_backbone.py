"""Train the backbone of a config to name the objects of its training data, before the detector is trained.

A detector takes the result with model.backbone.init_cfg=dict(type='Pretrained', checkpoint='OUT') in its config.
A second run continues where the first one was stopped.
"""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mask_dino.checkpoints import register_loaders
from mask_dino.cli import common, training
from mask_dino.cli.help import make_parser
from mask_dino.hooks.checkpoint_files import write_durably
from mask_dino.messages import missing_file
from mask_dino.pretraining.config import Schedule, make_classifier_config

PREFIX = 'backbone.'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/misc/pretrain_backbone.py configs/maskdino/maskdino_tiny_shapes.py work_dirs/backbone.pth',
    )
    parser.add_argument('config', help='config of a detector whose training data has boxes')
    parser.add_argument('out', type=Path, help='checkpoint to write, for example backbone.pth')
    parser.add_argument(
        '--processes',
        type=int,
        default=1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 2),
        help='processes that share the work (default: %(default)s)',
    )
    add_schedule(parser)
    common.add_config_options(parser, "settings to override in the detector's config")
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch'], default='none', help=argparse.SUPPRESS
    )
    return parser


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say how long and how fast the backbone learns."""
    default = Schedule()
    parser.add_argument(
        '--steps', type=int, default=default.steps, help='steps (default: %(default)s)'
    )
    parser.add_argument(
        '--images', type=int, default=default.images, help='images per step (default: %(default)s)'
    )
    parser.add_argument(
        '--lr', type=float, default=default.lr, help='learning rate (default: %(default)s)'
    )
    parser.add_argument(
        '--size',
        type=int,
        default=default.size,
        help='side of the crops in pixels (default: %(default)s)',
    )
    parser.add_argument(
        '--scales',
        type=float,
        nargs=2,
        default=(default.smallest, default.largest),
        metavar=('SMALLEST', 'LARGEST'),
        help='factors between the size of an object in the image and in its crop (default: %(default)s)',
    )


def main() -> None:
    """Train, and write the backbone."""
    parser = build_parser()
    args = parser.parse_args()
    if not Path(args.config).is_file():
        parser.error(missing_file('config', args.config))
    if args.out.exists():
        print(f'{args.out} is there already. To train again, remove it and {work_dir(args.out)}')
        return
    if args.launcher == 'none' and args.processes > 1:
        sys.exit(launch(args.processes))
    config = read_config(args)
    try:
        training.resume_training(config, 'auto')
        runner = common.build_runner(config, 'train_dataloader', 'val_dataloader')
    except common.UsageError as error:
        parser.error(str(error))
    runner.train()
    if is_main_process():
        write_backbone(runner, args.out)


def read_config(args: argparse.Namespace) -> Config:
    """Return the config of this training."""
    detector = Config.fromfile(args.config)
    detector.merge_from_dict(args.cfg_options)
    schedule = Schedule(args.steps, args.images, args.lr, args.size, *args.scales)
    processes = args.processes if args.launcher == 'pytorch' else 1
    config = make_classifier_config(detector, schedule, processes)
    config.work_dir = str(work_dir(args.out))
    config.launcher = args.launcher
    register_loaders()  # again, because imports of the config can have replaced the loaders
    return config


def work_dir(out: Path) -> Path:
    """Return the folder of logs and of the state of the training."""
    return out.with_name(f'{out.stem}_training')


def launch(processes: int) -> int:
    """Run this command in several processes, and return its exit code."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command = [*launcher, f'--nproc_per_node={processes}', *sys.argv, '--launcher', 'pytorch']
    environment = {'OMP_NUM_THREADS': '1'} | os.environ
    return subprocess.run(command, env=environment, check=False).returncode


def write_backbone(runner: Runner, out: Path) -> None:
    """Write the weights of the backbone, and print how good they are.

    Raises:
        StorageError: The file cannot be written.
    """
    state = common_model(runner).backbone.state_dict()
    accuracy = runner.message_hub.get_scalar('val/objects/accuracy').current()
    content = io.BytesIO()
    meta = dict(accuracy=float(accuracy), steps=runner.iter)
    torch.save(dict(state_dict=state, meta=meta), content)
    write_durably(out, content.getvalue())
    print(f'{out}: the backbone names {accuracy:.0%} of the objects of the validation data right')


def common_model(runner: Runner) -> torch.nn.Module:
    """Return the model without the wrapper of several processes."""
    model = runner.model
    return model.module if hasattr(model, 'module') else model


if __name__ == '__main__':
    common.run_tool(main)
