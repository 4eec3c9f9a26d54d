"""Train Mask DINO without its parts, and its peers, on Shapes: several trainings at a time, resumed where they stopped.

Every training writes RESULTS/NAME-SEED.json. A second run skips what is complete. `summarise.py` draws the results.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from mask_dino.cli.help import make_parser

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


class Trial(NamedTuple):
    """One training."""

    config: str
    lr: float | None = None  # None: the config's own
    backbone_rate: float | None = None  # factor of the rate for the backbone; None: the demo's


# In the order of their importance.
ABLATION = {
    'full': Trial('full.py'),
    'predicted_boxes': Trial('predicted_boxes.py'),
    'learned_queries': Trial('learned_queries.py'),
    'no_denoising': Trial('no_denoising.py'),
    'box_denoising': Trial('box_denoising.py'),
    'match_boxes': Trial('match_boxes.py'),
    'match_masks': Trial('match_masks.py'),
    'mask_window': Trial('mask_window.py'),
}
# Each with two rates. The factor for the backbone is the usual one of each.
PEERS = {
    'mask2former-low': Trial('mask2former_shapes.py', 5e-4, 0.1),
    'mask2former-high': Trial('mask2former_shapes.py', 2e-3, 0.1),
    'dino-low': Trial('dino_shapes.py', 2e-4, 0.1),
    'dino-high': Trial('dino_shapes.py', 1e-3, 0.1),
    'mask_rcnn-low': Trial('mask_rcnn.py', 0.01, 1.0),
    'mask_rcnn-high': Trial('mask_rcnn.py', 0.02, 1.0),
}
# Semantic segmentation under MMSegmentation.
SEMANTIC = {
    'semantic': Trial('semantic.py'),
    'semantic_plain': Trial('semantic_plain.py'),
    'semantic_mask2former-low': Trial('semantic_mask2former.py', 5e-4, 0.1),
    'semantic_mask2former-high': Trial('semantic_mask2former.py', 2e-3, 0.1),
    'semantic_fcn-low': Trial('semantic_fcn.py', 0.01, 1.0),
    'semantic_fcn-high': Trial('semantic_fcn.py', 0.04, 1.0),
}
TRIALS = ABLATION | PEERS | SEMANTIC
BACKBONE_RATE = 0.3
"""Factor of the learning rate for the backbone, the same in all trials of Mask DINO. The demo has the full rate."""
BATCH_SIZE = 2


class Job(NamedTuple):
    """A training with its seed."""

    name: str
    seed: int

    @property
    def file(self) -> str:
        return f'{self.name}-{self.seed}'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python projects/mask_dino/trials/run.py --backbone backbone.pth --cuda-jobs 12',
        'python projects/mask_dino/trials/run.py --backbone backbone.pth --cpu-jobs 2',
        exit_codes='0: all trainings are complete; 1: one of them failed; 2: wrong arguments',
    )
    parser.add_argument(
        '--backbone',
        type=Path,
        help='checkpoint that tools/misc/pretrain_backbone.py wrote (default: random weights)',
    )
    parser.add_argument(
        '--cuda-jobs', type=int, default=0, help='trainings at a time on the GPU (default: 0)'
    )
    parser.add_argument(
        '--cpu-jobs',
        type=int,
        default=0,
        help='trainings at a time on the CPU (default: 0; 1 if both are 0)',
    )
    parser.add_argument(
        '--steps', type=int, default=1200, help='steps of a training (default: 1200)'
    )
    parser.add_argument(
        '--points', type=int, default=6, help='validations in a training (default: 6)'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        default=3,
        help='seeds of each variant (default: 3); peers and semantic models have one',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        choices=list(TRIALS),
        metavar='NAME',
        help='trials to run: ' + ', '.join(TRIALS) + ' (default: all)',
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=HERE / 'results',
        help='folder of the figures (default: results beside this file)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/trials'),
        help='folder of logs and checkpoints (default: work_dirs/trials)',
    )
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data/shapes'),
        help='folder of Shapes, made if it is missing (default: data/shapes)',
    )
    parser.add_argument(
        '--minutes',
        type=float,
        default=1e9,
        help='start no training after so many minutes (default: no limit)',
    )
    parser.add_argument(
        '--job',
        nargs=2,
        metavar=('NAME', 'SEED'),
        help='run one training in this process (default: all, in processes of their own)',
    )
    return parser


def main() -> None:
    """Run one training, or all."""
    args = build_parser().parse_args()
    if args.job:
        train(Job(args.job[0], int(args.job[1])), args)
        return
    args.results.mkdir(parents=True, exist_ok=True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    make_data(args.data)
    jobs = [job for job in list_jobs(args) if not is_finished(job, args)]
    devices = ['cuda'] * args.cuda_jobs + ['cpu'] * args.cpu_jobs
    sys.exit(work_off(jobs, devices or ['cpu'], args))


def list_jobs(args: argparse.Namespace) -> list[Job]:
    """Return all trainings, seed by seed, so that a run that is cut leaves whole seeds."""
    jobs = []
    for seed in range(args.seeds):
        names = TRIALS if seed == 0 else ABLATION
        jobs += [Job(name, seed) for name in names if not args.only or name in args.only]
    return jobs


def is_finished(job: Job, args: argparse.Namespace) -> bool:
    """Return whether a training is complete."""
    path = args.results / f'{job.file}.json'
    return path.exists() and '"is_finished": true' in path.read_text()


def work_off(jobs: list[Job], devices: list[str], args: argparse.Namespace) -> int:
    """Run trainings on as many devices at a time; return 1 if one of them failed."""
    start = time.monotonic()
    waiting = list(jobs)
    idle = list(devices)
    running: list[tuple[Job, str, subprocess.Popen]] = []
    num_failed = 0
    while waiting or running:
        is_time_left = time.monotonic() - start < args.minutes * 60
        waiting = waiting if is_time_left else []
        while waiting and idle:
            device = idle.pop(0)
            job = waiting.pop(0)
            running.append((job, device, launch(job, device)))
        time.sleep(0.5)
        ended = [entry for entry in running if entry[2].poll() is not None]
        for entry in ended:
            running.remove(entry)
            idle.append(entry[1])
            num_failed += report(entry[0], entry[2].returncode, time.monotonic() - start, args)
    return int(num_failed > 0)


def launch(job: Job, device: str) -> subprocess.Popen:
    """Start a training in a process of its own."""
    threads = dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    path = f'{ROOT}:{HERE}:{os.environ.get("PYTHONPATH", "")}'
    environment = os.environ | threads | dict(PYTHONPATH=path)
    if device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    command = [sys.executable, *sys.argv, '--job', job.name, str(job.seed)]
    log = build_parser().parse_known_args()[0].work_dir / f'{job.file}.log'
    with log.open('a') as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)


def report(job: Job, code: int, seconds: float, args: argparse.Namespace) -> bool:
    """Print how a training ended; return whether it failed."""
    state = 'done' if code == 0 else f'FAILED, see {args.work_dir / job.file}.log'
    print(f'{seconds:6.0f} s  {job.file}: {state}', flush=True)
    return code != 0


def make_data(folder: Path) -> None:
    """Write the data of the demo, if they are not there."""
    sys.path.insert(0, str(ROOT))
    from mask_dino.datasets.shapes import World
    from mask_dino.datasets.shapes.write import write_shapes

    write_shapes(World(train=2000, val=100), folder)


def train(job: Job, args: argparse.Namespace) -> None:
    """Run one training, or continue it."""
    import torch

    from mask_dino.cli import common, training

    torch.set_num_threads(1)
    config = make_config(job, args)
    training.resume_training(config, 'auto')
    runner = common.build_runner(config, 'train_dataloader', 'val_dataloader')
    runner.train()


def make_config(job: Job, args: argparse.Namespace):
    """Return the config of a training: its own with the data, the schedule and the backbone of all."""
    import variants  # noqa: F401  registers the hook
    from mmengine.config import Config

    from mask_dino.checkpoints import register_loaders

    trial = TRIALS[job.name]
    config = Config.fromfile(HERE / trial.config)
    register_loaders()
    config.work_dir = str(args.work_dir / job.file)
    config.launcher = 'none'
    config.randomness = dict(seed=job.seed)
    set_schedule(config, args)
    set_rates(config, trial)
    if args.backbone:
        config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(args.backbone))
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.data_root = f'{args.data}/'
        loader.num_workers = 1
    config.train_dataloader.batch_size = BATCH_SIZE
    if job.name not in SEMANTIC:
        config.val_evaluator.ann_file = str(args.data / 'annotations/instances_val.json')
        is_box_detector = config.model.type == 'DINO'
        config.val_evaluator.metric = ['bbox'] if is_box_detector else ['bbox', 'segm']
    path = args.results / f'{job.file}.json'
    about = dict(name=job.name, seed=job.seed, config=trial.config, lr=trial.lr, steps=args.steps)
    config.custom_hooks = [
        dict(type='ProgressHook'),
        dict(type='CurveHook', path=str(path), about=about),
    ]
    return config


def set_schedule(config, args: argparse.Namespace) -> None:
    """Give a training its steps: a warm-up, a cosine, and validations at equal distances."""
    interval = max(args.steps // args.points, 1)
    config.train_cfg.max_iters = args.steps
    config.train_cfg.val_interval = interval
    warmup = max(args.steps // 20, 1)
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=args.steps, eta_min=1e-5),
    ]
    config.default_hooks.checkpoint.interval = interval
    config.default_hooks.logger.interval = 50


def set_rates(config, trial: Trial) -> None:
    """Give a training its learning rates."""
    if trial.lr:
        config.optim_wrapper.optimizer.lr = trial.lr
    rate = BACKBONE_RATE if trial.backbone_rate is None else trial.backbone_rate
    config.optim_wrapper.setdefault('paramwise_cfg', {})
    config.optim_wrapper.paramwise_cfg.custom_keys = dict(backbone=dict(lr_mult=rate))


if __name__ == '__main__':
    main()
