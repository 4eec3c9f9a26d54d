"""Saves checkpoints so that one can be read after any kind of stop."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend, join_path
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ..messages import DataError, first_few, plural
from .checkpoint_files import (
    UNFINISHED,
    LateRemoval,
    StorageError,
    checkpoint_folder,
    find_newest_checkpoint,
    storage_error,
    write_durably,
)
from .losses import check_weights
from .resume_settings import prepare_to_resume
from .resume_state import RESUME_STATE, ResumeState, is_checkpoint_name, keep_own_files

LAST_CHECKPOINT = 'last_checkpoint'
"""The file in which mmengine notes the checkpoint that it saved last."""


@HOOKS.register_module(name='CheckpointHook', force=True)
class DurableCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, but from the first checkpoint on there is always one that can be read.

    It takes the place of mmengine's under the same name, so that every config has it. The arguments are the same.
    Differs from mmengine's: a checkpoint is written to a temporary file, flushed and renamed; older checkpoints are
    removed only then; resuming does not depend on ``last_checkpoint``. Only local directories are written so.
    """

    file_backend: BaseStorageBackend
    late_removal: LateRemoval | None = None
    is_saved = False
    resume_state = ResumeState()  # of the checkpoint to be saved
    resumed = ResumeState()  # of the checkpoint that was loaded

    def before_run(self, runner: Runner) -> None:
        """Make ``last_checkpoint`` name the newest readable checkpoint, where mmengine will look for it."""
        if not runner.cfg.get('resume') or runner.cfg.get('load_from'):
            return
        if is_main_process():
            mend_last_checkpoint(runner)
        barrier()

    def before_train(self, runner: Runner) -> None:
        """Prepare the directory.

        Raises:
            StorageError: There is not enough space for a single checkpoint.
        """
        self.forget_foreign_files(runner)
        super().before_train(runner)
        if runner.iter == 0:
            self.resumed = ResumeState()  # the weights come from a checkpoint, not the training
        if not isinstance(self.file_backend, LocalBackend):
            return
        self.backend_args = dict(backend='durable')
        self.file_backend = self.late_removal = LateRemoval()
        if not is_main_process():
            return
        for name in self.resumed.outdated:
            if is_checkpoint_name(name, self.filename_tmpl):
                Path(self.out_dir, name).unlink(missing_ok=True)
        for path in Path(self.out_dir).glob(f'*{UNFINISHED}'):
            path.unlink(missing_ok=True)
        self.check_space(runner)

    def forget_foreign_files(self, runner: Runner) -> None:
        """Keep the names in a loaded checkpoint from leading to files that are no checkpoints of this training."""
        folder = runner.work_dir
        if self.out_dir is not None:
            folder = join_path(self.out_dir, Path(runner.work_dir).name)
        for path in keep_own_files(runner.message_hub, folder, self.filename_tmpl):
            runner.logger.warning(
                f'the resumed checkpoint names {path!r}, which is no checkpoint of this training; it is left as it is'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        """Save a checkpoint where one is due after an iteration. See :meth:`prepare` and :meth:`saving` for errors."""
        is_last = self.save_last and self.is_last_train_iter(runner)
        is_due = is_last or self.every_n_train_iters(runner, self.interval, self.save_begin)
        if is_due and not self.by_epoch:
            self.prepare(runner)
        with self.saving(runner):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_train_epoch(self, runner: Runner) -> None:
        """Save a checkpoint where one is due after an epoch. See :meth:`prepare` and :meth:`saving` for errors."""
        is_last = self.save_last and self.is_last_train_epoch(runner)
        is_due = is_last or self.every_n_epochs(runner, self.interval, self.save_begin)
        if is_due and self.by_epoch:
            self.prepare(runner)
        with self.saving(runner):
            super().after_train_epoch(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save a checkpoint that is better than all before.

        Raises:
            DataError: The validation has no figure that ``save_best`` names.
            LossError: Weights are NaN or infinite.
            StorageError: A file cannot be written.
        """
        absent = [name for name in self.save_best or () if name not in (*metrics, 'auto')]
        if metrics and absent:
            raise DataError(
                f'default_hooks.checkpoint.save_best: the validation has no figure {first_few(absent)}. It gives '
                f'{first_few(metrics, 40)}.'
            )
        if self.save_best:
            self.prepare(runner)
        with self.saving(runner):
            super().after_val_epoch(runner, metrics)

    def prepare(self, runner: Runner) -> None:
        """Prepare the saving of a checkpoint, in all processes.

        Raises:
            LossError: Weights are NaN or infinite.
        """
        check_weights(runner)
        self.resume_state = ResumeState.capture(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put into a checkpoint what mmengine does not save."""
        self.is_saved = True
        outdated = self.late_removal.outdated if self.late_removal else []
        state = self.resume_state._replace(outdated=[path.name for path in outdated])
        checkpoint[RESUME_STATE] = state._asdict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what `before_save_checkpoint` put into a checkpoint, and compare settings in a resumed training.

        Raises:
            DataError: The optimiser has other groups of parameters.
        """
        self.resumed = ResumeState.from_checkpoint(checkpoint)
        if runner.cfg.get('resume') and isinstance(runner.optim_wrapper, OptimWrapper):
            prepare_to_resume(checkpoint, runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Let the random numbers of a resumed training go on where they were."""
        if self.resumed.random_states:
            self.resumed.restore(runner)
            self.resumed = ResumeState()

    @contextmanager
    def saving(self, runner: Runner) -> Iterator[None]:
        """Let mmengine's hook save in the body of the statement, then note the checkpoint and remove the older ones.

        Raises:
            StorageError: A file cannot be written; the older checkpoints are still there.
        """
        self.is_saved = False
        last_checkpoint = Path(runner.work_dir, LAST_CHECKPOINT)
        try:
            yield
            if self.is_saved and self.last_ckpt is not None:
                write_durably(last_checkpoint, str(self.last_ckpt).encode())
            if self.late_removal:
                self.late_removal.remove_outdated()
        except OSError as error:
            _remove_if_empty(last_checkpoint)
            raise storage_error(last_checkpoint, error) from error
        finally:
            self.resume_state = ResumeState()  # frees the gradients

    def check_space(self, runner: Runner) -> None:
        """Compare the space on the disk with what the checkpoints will take.

        Raises:
            StorageError: There is not enough space for a single checkpoint.
        """
        size = checkpoint_size(runner)
        free = shutil.disk_usage(self.out_dir).free
        # One more than is kept, while the next is written.
        copies = self.max_keep_ckpts + 1 if self.max_keep_ckpts > 0 else 2
        sizes = (
            f'a checkpoint takes about {format_megabytes(size)}, and {self.out_dir} has '
            f'{format_megabytes(free)} left'
        )
        if free < size:
            raise StorageError(f'{sizes}; free some space, or choose another disk with --work-dir')
        if free < copies * size:
            runner.logger.warning(
                f'{sizes}: too little for {plural(copies, "checkpoint")}; free some space, choose another disk with '
                '--work-dir, or keep fewer with default_hooks.checkpoint.max_keep_ckpts'
            )


def _remove_if_empty(path: Path) -> None:
    """Remove a file that was emptied to be written, where the writing failed."""
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


def checkpoint_size(runner: Runner) -> int:
    """Return about how many bytes a checkpoint takes: weights, and two moments for each trained one, as in AdamW."""
    model: nn.Module = runner.model
    tensors = model.state_dict().values()
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    weights = sum(tensor.nbytes for tensor in tensors)
    moments = 2 * sum(parameter.nbytes for parameter in trained)
    return weights + moments


def format_megabytes(count: int) -> str:
    """Write a number of bytes."""
    return f'{count / 2**20:,.0f} MiB'


def mend_last_checkpoint(runner: Runner) -> None:
    """Let ``last_checkpoint`` name the newest readable checkpoint; without one, remove it.

    Raises:
        CheckpointError: There are checkpoints, but none can be read.
        StorageError: The file cannot be written.
    """
    path = Path(runner.work_dir, LAST_CHECKPOINT)
    newest, skipped = find_newest_checkpoint(checkpoint_folder(runner.cfg))
    for file in skipped:
        runner.logger.warning(f'skipped {file}')
    if newest is not None:
        write_durably(path, os.fsencode(newest.resolve()))
        runner.logger.info(f'resume from {newest}, the newest readable checkpoint')
    elif path.exists():
        path.unlink()
        runner.logger.warning(
            f'{path} names no checkpoint that can be read; training starts from the beginning'
        )
