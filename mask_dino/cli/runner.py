"""A runner whose trainings, after a stop, continue with the results of a training that was never stopped."""

import ctypes
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ..checkpoints import CheckpointError
from ..checkpoints.training_state import check_training_state
from ..hooks.checkpoint_files import (
    checkpoint_folder,
    find_newest_checkpoint,
    load_lazily,
)
from ..hooks.resume_state import ResumeState, first_iteration
from ..messages import DataError, is_url
from ..ops.transformer_layers import compile_layers
from .console import log_prints, quiet_console
from .seeded_batches import SeededBatchSampler, SkippingIterator, seed_batches

SET_PARENT_DEATH_SIGNAL = 1
"""The first argument of Linux' prctl."""


class Start(NamedTuple):
    """Where a resumed training starts."""

    iteration: int
    seed: int | None
    epoch: int = 0
    steps_per_epoch: int = 0  # of the checkpoint; 0 if not known


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """mmengine's Runner, with data loaders that can start in the middle of a training.

    Differs from mmengine's: the random numbers of a batch depend on the seed, the rank and the number of the batch, not
    on the number of loader processes or on what they did before; a resumed training starts with the first batch that
    was not seen, and does not load all batches before it; loader processes end with the training, however it ends.
    """

    is_building_training = False
    start = Start(0, None)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Build the logger, whose console leaves the details to the log file."""
        logger: MMLogger = super().build_logger(log_level, log_file, **kwargs)
        quiet_console(logger)
        return logger

    def build_evaluator(self, evaluator: dict | list | Evaluator) -> Evaluator:
        """Build an evaluator; what it prints goes to the log file."""
        with log_prints(self.logger):
            built: Evaluator = super().build_evaluator(evaluator)
        return built

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict:
        """Load a checkpoint; `CheckCheckpointHook` reports on it, so mmengine's list goes to the log file."""
        with log_prints(self.logger):
            checkpoint: dict = super().load_checkpoint(filename, *args, **kwargs)
        return checkpoint

    def train(self) -> nn.Module:
        """Train. ``compile`` of the config compiles the layers of the transformer.

        mmengine compiles the whole step, together with the data samples and the matching, which takes longer than
        a training. The config inside the checkpoints has no ``compile``, so that it does not slow down inference.

        Raises:
            DataError: ``compile`` cannot be used.
        """
        options = self.cfg.pop('compile', False)
        if options:
            compile_layers(self.model, {} if options is True else options)
        trained: nn.Module = super().train()
        return trained

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimiser.

        Raises:
            DataError: torch or mmengine refuse its settings.
        """
        with naming_settings('optim_wrapper'):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedules.

        Raises:
            DataError: mmengine refuses their settings.
        """
        with naming_settings('param_scheduler'):
            return super().build_param_scheduler(scheduler)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, which starts where the checkpoint to be resumed was saved.

        Raises:
            CheckpointError: The checkpoint to be resumed cannot be read, or is beyond the end of the training.
        """
        self.start = read_start(self.cfg)
        self.is_building_training = True
        train_loop: BaseLoop = super().build_train_loop(loop)
        self.is_building_training = False
        _, _, epoch, steps = self.start
        iteration = first_iteration(self.start.iteration, epoch, steps, train_loop)
        check_end(iteration, train_loop)
        batch_sampler = train_loop.dataloader.batch_sampler
        if not isinstance(batch_sampler, SeededBatchSampler):
            return train_loop
        if isinstance(train_loop, IterBasedTrainLoop):
            batches = train_loop.dataloader_iterator  # loads already
            train_loop.dataloader_iterator = SkippingIterator(batches, iteration)
        else:
            batch_sampler.num_to_skip = iteration
        return train_loop

    def build_dataloader(
        self, dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader."""
        if self.start.seed is not None:
            seed = self.start.seed
        with log_prints(self.logger):
            loader: DataLoader = super().build_dataloader(dataloader, seed, diff_rank_seed)
        if self.is_building_training and isinstance(dataloader, dict):
            loader = seed_batches(loader, seed or 0, self.start.iteration)
        # Its own generator: then starting the loader processes draws no random number of the training.
        loader.generator = torch.Generator()
        configured = loader.worker_init_fn
        loader.worker_init_fn = functools.partial(start_worker, following=configured)
        return loader


def read_start(config: Config) -> Start:
    """Return where a training starts: at its beginning, or where the checkpoint to be resumed was saved.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        CheckpointError: The checkpoint cannot be read, or none of the directory can.
    """
    path = config.get('load_from')
    if config.get('resume') and not path:
        path, _ = find_newest_checkpoint(checkpoint_folder(config))
    if not config.get('resume') or path is None or is_url(str(path)):
        return Start(0, None)
    checkpoint = load_lazily(Path(path))  # the weights are read once, later
    check_training_state(checkpoint, path)
    meta = checkpoint['meta']
    steps = ResumeState.from_checkpoint(checkpoint).steps_per_epoch
    return Start(meta['iter'], meta.get('seed'), meta['epoch'], steps)


def check_end(iteration: int, loop: BaseLoop) -> None:
    """Refuse to resume a training behind its end, before its iterations are counted again one by one.

    Raises:
        CheckpointError: The checkpoint has more iterations than the training.
    """
    if not isinstance(loop, (IterBasedTrainLoop, EpochBasedTrainLoop)):
        return
    if iteration > loop.max_iters:
        raise CheckpointError(
            f'the checkpoint was saved at iteration {iteration}, and the training of the config ends at '
            f'{loop.max_iters}: nothing is left to train. Raise max_iters or max_epochs of train_cfg, or start a new '
            'training from these weights: load_from=CHECKPOINT, resume=False'
        )


@contextmanager
def naming_settings(section: str) -> Iterator[None]:
    """Name the section of the config whose settings are refused in the body of the statement.

    Raises:
        DataError: The body refuses the settings.
    """
    try:
        yield
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise DataError(f'{section} of the config cannot be used: {error}') from error


def start_worker(worker_id: int, following: Callable[[int], None] | None) -> None:
    """End a loader process when the training ends, and go on as configured."""
    end_with_parent()
    if following is not None:
        following(worker_id)


def end_with_parent() -> None:
    """Have Linux kill this process when the process that started it ends; elsewhere, do nothing."""
    if sys.platform.startswith('linux'):
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
