"""Generate a small data set, train a small Mask DINO on it, evaluate it on unseen images and draw what it sees.

Everything after set-up takes about 12 minutes on two cores. A second run goes on where the first was stopped.
"""

import contextlib
import logging
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner, find_latest_checkpoint

from mask_dino.datasets.shapes.make import make
from mask_dino.datasets.shapes.world import World
from mask_dino.pictures import draw_page

CONFIG = Path('configs/maskdino/maskdino_tiny_shapes.py')
DATA = Path('data/shapes')
WORK_DIR = Path('work_dirs/demo')
PAGE = WORK_DIR / 'pictures.png'
WORLD = World(train=2000, val=100)


def main() -> None:
    """Run the four steps."""
    say('1/4', f'Data: {WORLD.train} images to train on and {WORLD.val} others to test on, in {DATA}')
    try:
        make(WORLD, DATA)
    except OSError as error:
        sys.exit(f'error: {error}')
    runner = build_runner()
    train(runner)
    say('3/4', f'Test: {WORLD.val} images that the model has not seen')
    with (WORK_DIR / 'evaluation.log').open('w') as log, contextlib.redirect_stdout(log):
        metrics = runner.test()
    say('4/4', 'Pictures: image, ground truth and prediction')
    draw_page(runner.model, runner.test_dataloader.dataset, range(16), PAGE)
    report(metrics, runner)


def build_runner() -> Runner:
    """Prepare a training that writes its details to the log and its progress to the screen."""
    config = Config.fromfile(CONFIG)
    config.work_dir = str(WORK_DIR)
    config.resume = True
    config.custom_hooks = [*config.get('custom_hooks', []), dict(type='ProgressHook')]
    # Only what went wrong is of interest on the screen.
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        runner = Runner.from_cfg(config)
    for handler in runner.logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)
    return runner


def train(runner: Runner) -> None:
    """Train, go on with a training that was stopped, or find it done."""
    latest = find_latest_checkpoint(str(WORK_DIR))
    finished = latest is not None and Path(latest).name == f'iter_{runner.max_iters}.pth'
    if finished:
        say('2/4', f'Training: done already; to train again, remove {WORK_DIR}')
    else:
        verb = 'goes on from ' + latest if latest else 'from random weights, on the CPU'
        say('2/4', f'Training: {verb}')
    runner.train()


def report(metrics: dict[str, float], runner: Runner) -> None:
    """Say what came out and where it is."""
    box, mask = metrics['coco/bbox_mAP'], metrics['coco/segm_mAP']
    print(f"""
  box AP {box:.2f}   mask AP {mask:.2f}   (on {WORLD.val} unseen images)

AP is the average precision of COCO: 1 means that every object is found, named and outlined exactly, at every
degree of overlap that is asked for (0.50 to 0.95); a strong model reaches about 0.5 on COCO's photographs.

  pictures     {PAGE}
  log          {runner.log_dir}
  evaluation   {WORK_DIR / 'evaluation.log'}
  weights      {find_latest_checkpoint(str(WORK_DIR))}
  config       {CONFIG}

To try it on an image: see "Use" in README.md. To start afresh: rm -r {WORK_DIR}""")


def say(step: str, text: str) -> None:
    """Announce a step."""
    print(f'[{step}] {text}', flush=True)


if __name__ == '__main__':
    main()
