"""A line of progress for people who watch a training."""

import time

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

PREFIX = 'progress:'


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints the iteration, the loss and the remaining time.

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
        minutes, seconds = divmod(round(remaining), 60)
        loss = runner.message_hub.get_scalar('train/loss').mean(self.interval)
        print(
            f'{PREFIX} step {done}/{runner.max_iters}   loss {loss:6.1f}   {minutes} min {seconds:02d} s left',
            flush=True,
        )
