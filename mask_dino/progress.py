"""A line of progress for people who watch a training."""

import sys
import time

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the iteration, the loss and the remaining time, in one line that is rewritten on a terminal.

    Args:
        interval: Iterations between two lines.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Start the clock, and the count, which is not zero in a resumed training."""
        self.start_time, self.start_iter = time.monotonic(), runner.iter

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        """Show where training stands."""
        done = runner.iter + 1
        if done % self.interval and done != runner.max_iters:
            return
        elapsed = time.monotonic() - self.start_time
        remaining = elapsed / (done - self.start_iter) * (runner.max_iters - done)
        loss = runner.message_hub.get_scalar('train/loss').mean(self.interval)
        line = f'  step {done}/{runner.max_iters}   loss {loss:6.1f}   {format_time(remaining)} left'
        on_terminal = sys.stdout.isatty()
        end = '\r' if on_terminal and done != runner.max_iters else '\n'
        if on_terminal or done % (10 * self.interval) == 0 or done == runner.max_iters:
            print(line.ljust(70), end=end, flush=True)


def format_time(seconds: float) -> str:
    """Return minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes} min {seconds:02d} s'
