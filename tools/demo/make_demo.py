"""Generate a small data set, train a small Mask DINO on it, test it on unseen images and draw what it sees.

Everything after set-up takes about 12 minutes on two cores. A second run continues where the first one was stopped.
"""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from demo_page import write_page
from mmengine.config import Config
from mmengine.runner import Runner

from mask_dino.cli.help import make_parser
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes
from mask_dino.hooks.losses import PROGRESS_PREFIX

CONFIG = Path('configs/maskdino/maskdino_tiny_shapes-panoptic.py')
DATA = Path('data/shapes')
WORK_DIR = Path('work_dirs/demo')
LOG = WORK_DIR / 'train.log'
EVALUATION = WORK_DIR / 'evaluation.log'
PAGE = WORK_DIR / 'index.html'
WEIGHTS = WORK_DIR / 'weights.pth'
BACKBONE = WORK_DIR / 'backbone.pth'
BACKBONE_LOG = WORK_DIR / 'backbone.log'
BACKBONE_STEPS = 2000
STEPS = 2600
PROCESSES = 2
WORLD = World(train=2000, val=100)
PICTURES = range(16)
TESTS = 3  # during the training
LINES = 10  # outside a terminal, one of so many lines of progress is shown


def main() -> None:
    """Run the five steps."""
    config = Config.fromfile(CONFIG)
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    say(
        '1/5',
        f'Data: {WORLD.train} images to train on and {WORLD.val} others to test on, in {DATA}',
    )
    try:
        write_shapes(WORLD, DATA)
    except OSError as error:
        sys.exit(f'error: {error}')
    train_backbone()
    train(config)
    say('4/5', f'Test: {WORLD.val} images that the model has not seen')
    runner = build_runner(config)
    with EVALUATION.open('w') as log, contextlib.redirect_stdout(log):
        metrics = runner.test()
    say(
        '5/5',
        'Page: figures, curves, pictures of ground truth and results, two objects layer by layer',
    )
    write_page(PAGE, runner, metrics, PICTURES, WORK_DIR)
    report(metrics)


def train_backbone() -> None:
    """Teach the backbone the classes, or go on with it; do nothing if it is trained."""
    say(
        '2/5',
        'Classes: the backbone learns to name single objects first, because a detector that starts from random '
        'weights learns names late',
    )
    if BACKBONE.exists() or WEIGHTS.exists():
        return
    command = [sys.executable, 'tools/misc/pretrain_backbone.py', str(CONFIG), str(BACKBONE)]
    # One process: a second core is busy with the images.
    command += ['--processes', '1', '--steps', str(BACKBONE_STEPS)]
    run_training(command, BACKBONE_LOG)


def train(config: Config) -> None:
    """Train, or continue a training that was stopped; do nothing if it is finished."""
    if WEIGHTS.exists():
        say('3/5', f'Training: done already. To train again: rm -r {WORK_DIR}')
        return
    command = ['tools/dist_train.sh', str(CONFIG), str(PROCESSES)]
    command += ['--work-dir', str(WORK_DIR), '--resume', '--cfg-options', *list_settings(config)]
    say('3/5', f'Training: {" ".join(command)}')
    run_training(command, LOG)
    shutil.copyfile(WORK_DIR / f'iter_{STEPS}.pth', WEIGHTS)


def list_settings(config: Config) -> list[str]:
    """Return the settings of a training in several processes that starts from the trained backbone."""
    init_cfg = 'model.backbone.init_cfg'
    last_schedule = len(config.param_scheduler) - 1
    return [
        f'train_dataloader.batch_size={config.train_dataloader.batch_size // PROCESSES}',
        # Loader processes would take time from the training, which keeps all cores busy.
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        f'train_cfg.max_iters={STEPS}',
        f'param_scheduler.{last_schedule}.end={STEPS}',
        # A few tests on the way, which take seconds, give the curves of the metrics.
        f'train_cfg.val_interval={max(1, STEPS // TESTS)}',
        f'{init_cfg}._delete_=True',
        f'{init_cfg}.type=Pretrained',
        f'{init_cfg}.checkpoint={BACKBONE}',
    ]


def run_training(command: list[str], log_file: Path) -> None:
    """Run a training, and show its progress; end with its errors if it fails."""
    # On few cores, two processes with one thread each are faster than two threads, also if other programs run.
    environment = os.environ | dict(PYTHON=sys.executable, OMP_NUM_THREADS='1')
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        env=environment,
    )
    with log_file.open('a') as log:
        show_progress(process, log)
    if process.wait():
        sys.exit(
            f'error: training failed; {log_file} ends with\n{find_failure(log_file.read_text())}'
        )


def find_failure(log: str) -> str:
    """Return the errors of single processes, which can stand far above the end of a log, and its last 60 lines."""
    lines = log.splitlines(keepends=True)
    errors = [line for line in lines[:-60] if line.startswith(('[rank', 'error:'))]
    return ''.join(errors[-20:] + lines[-60:])


def show_progress(process: subprocess.Popen, log: contextlib.AbstractContextManager) -> None:
    """Write the output of a training to the log and its progress to the screen."""
    on_terminal = sys.stdout.isatty()
    count = 0
    for line in process.stdout:
        if not line.startswith(PROGRESS_PREFIX):
            log.write(line)
            continue
        count += 1
        text = line.removeprefix(PROGRESS_PREFIX).rstrip().ljust(70)
        if on_terminal:
            print(f'     {text}', end='\r', flush=True)
        elif count % LINES == 0:
            print(f'     {text}', flush=True)
    if on_terminal and count:
        print()


def build_runner(config: Config) -> Runner:
    """Build the runner of the test; on the screen it prints only warnings and errors."""
    config.work_dir, config.load_from = str(WORK_DIR), str(WEIGHTS)
    with contextlib.redirect_stdout(io.StringIO()):
        runner = Runner.from_cfg(config)
    for handler in runner.logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.WARNING)
            handler.setStream(sys.stderr)
    return runner


def report(metrics: dict[str, float]) -> None:
    """Print the results, and the paths of the files."""
    print(f"""
     on {WORLD.val} unseen images     box AP   mask AP        PQ      mIoU
                             {scores(metrics)}

1 is perfect. AP is COCO's average precision: the mean over the classes of things and over ten thresholds of overlap,
from 0.50 to 0.95. PQ is the panoptic quality of maps that divide the image into things and stuff. mIoU is the mean over
all classes of the overlap (intersection over union) of predicted and true areas.

     page        {PAGE}  (open it in a browser)
     logs        {BACKBONE_LOG}, {LOG}, {EVALUATION}
     weights     {WEIGHTS}
     config      {CONFIG}

docs/quick_start.md has the commands to try the model on an image. To start again: rm -r {WORK_DIR}""")


def scores(metrics: dict[str, float]) -> str:
    """Return box AP, mask AP, PQ and mIoU in columns, each from 0 to 1; PQ and mIoU come in percent."""
    fractions = [metrics['coco/bbox_mAP'], metrics['coco/segm_mAP']]
    fractions += [metrics[name] / 100 for name in ('coco_panoptic/PQ', 'coco_semantic/mIoU')]
    return ''.join(f'{value:10.2f}' for value in fractions).lstrip()


def say(step: str, text: str) -> None:
    """Announce a step."""
    print(f'[{step}] {text}', flush=True)


if __name__ == '__main__':
    make_parser(
        __doc__ or '',
        'make demo',
        'python tools/demo/make_demo.py',
        exit_codes='0: done; 1: an error, which the last line names',
    ).parse_args()
    main()
