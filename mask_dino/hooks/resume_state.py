"""What a checkpoint holds beyond the content of mmengine, so that a resumed training goes on exactly."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.fileio import join_path
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import Tensor

from ..datasets.checks.config import leaf_datasets
from ..random_state import RandomState
from .check_data import unwrap_model

RESUME_STATE = 'resume_state'
"""The key of a checkpoint for this state."""


class ResumeState(NamedTuple):
    """What is saved in addition to weights, optimiser and schedules; older checkpoints can lack all of it."""

    random_states: Sequence[dict[str, Any]] = ()  # of every process
    batch_size: int = 0  # of all processes together
    accumulative_counts: int = 0  # 0 if not known
    num_images: int = 0  # of the training data; 0 if not known
    steps_per_epoch: int = 0  # 0 if not known
    annotation_files: Sequence[str] = ()  # names without folders, which can have moved
    # By parameter, of the steps since the weights changed.
    gradients: Sequence[tuple[str, Tensor]] = ()
    outdated: Sequence[str] = ()  # names of the files that the checkpoint replaces

    @classmethod
    def from_checkpoint(cls, checkpoint: dict[str, Any]) -> 'ResumeState':
        """Read what `_asdict` wrote; later versions may have written more."""
        state = checkpoint.get(RESUME_STATE)
        stored = state if isinstance(state, dict) else {}
        return cls(**{name: stored[name] for name in cls._fields if name in stored})

    @classmethod
    def capture(cls, runner: Runner) -> 'ResumeState':
        """Return the present state; all processes call this."""
        return cls(
            random_states=all_gather_object(RandomState.capture()._asdict()),
            batch_size=total_batch_size(runner),
            accumulative_counts=accumulative_counts(runner),
            num_images=len(runner.train_loop.dataloader.dataset),
            steps_per_epoch=len(runner.train_loop.dataloader),
            annotation_files=annotation_files(runner.train_loop.dataloader.dataset),
            gradients=capture_gradients(runner),
        )

    def restore(self, runner: Runner) -> None:
        """Restore the random state of this process, and the gradients of an unfinished accumulation."""
        if runner.iter % accumulative_counts(runner):
            self.restore_gradients(runner)
        if len(self.random_states) != get_world_size():
            runner.logger.warning(
                f'the checkpoint was saved by {len(self.random_states)} processes, and {get_world_size()} go on: '
                'order of images and random numbers differ from a training that was not interrupted'
            )
            return
        try:
            RandomState.from_checkpoint(self.random_states[get_rank()]).restore()
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            runner.logger.warning(
                f'the random state in the checkpoint cannot be read ({error}): random numbers differ from '
                'a training that was not interrupted'
            )

    def restore_gradients(self, runner: Runner) -> None:
        """Give the parameters their gradients back, in the middle of an accumulation."""
        parameters = dict(unwrap_model(runner.model).named_parameters())
        try:
            for name, gradient in self.gradients:
                parameters[name].grad = gradient.to(parameters[name], copy=True)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            runner.logger.warning(
                f'the gradients in the checkpoint cannot be read ({error}): the gradients of the steps since '
                'the weights changed are left out'
            )


def total_batch_size(runner: Runner) -> int:
    """Return the number of images of a step, over all processes; 0 where the loader does not tell."""
    sampler = runner.train_loop.dataloader.batch_sampler
    return int(sampler.batch_size) * get_world_size() if sampler is not None else 0


def accumulative_counts(runner: Runner) -> int:
    """Return the number of steps whose gradients are added up before the weights change."""
    return int(runner.cfg.get('optim_wrapper', {}).get('accumulative_counts', 1))


def annotation_files(dataset: Any) -> list[str]:
    """Return the names of the annotation files of a data set, which can be joined from several."""
    parts = [part for part in leaf_datasets(dataset) if isinstance(part, BaseDataset)]
    return [PurePath(part.ann_file).name for part in parts if part.ann_file]


def first_iteration(iteration: int, epoch: int, saved_steps: int, loop: BaseLoop) -> int:
    """Return the iteration at which a resumed training starts.

    It is the iteration of the checkpoint. If the number of steps of an epoch has changed, a training in epochs starts
    with the first step of the checkpoint's epoch instead. No step of the later epochs is then missing.

    Args:
        iteration: Of the checkpoint.
        epoch: Of the checkpoint.
        saved_steps: Number of steps of an epoch of the checkpoint; 0 if not known.
        loop: The loop of the resumed training.
    """
    steps = len(loop.dataloader)
    if not isinstance(loop, EpochBasedTrainLoop) or saved_steps in (0, steps):
        return iteration
    return epoch * steps


def capture_gradients(runner: Runner) -> list[tuple[str, Tensor]]:
    """Return the gradients of an unfinished accumulation, with their parameters; all processes call this.

    mmengine does not save them. Several processes have gradients of different images. They all get the mean back,
    which does not change the next step, because that step averages them.
    """
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
        return []
    gradients: list[tuple[str, Tensor]] = []
    for name, parameter in unwrap_model(runner.model).named_parameters():
        if parameter.grad is not None:
            gradient = parameter.grad.detach().clone()
            all_reduce(gradient, 'mean')
            gradients.append((name, gradient.cpu()))
    return gradients


def is_checkpoint_name(name: Any, template: str) -> bool:
    """Tell whether a value is a file name that CheckpointHook gives, also to the best checkpoint of a figure.

    Args:
        template: ``filename_tmpl`` of the hook, such as ``iter_{}.pth``.
    """
    number = r'\d+'.join(re.escape(part) for part in re.split(r'{.*?}', template))
    pattern = rf'(best_[^/\\\0]+_)?{number}'
    return isinstance(name, str) and re.fullmatch(pattern, name) is not None


def keep_own_files(hub: MessageHub, folder: str, template: str) -> list[str]:
    """Let the state of a resumed training name only checkpoints of its own folder, and return the other paths.

    mmengine removes the files that this state names when better or newer checkpoints take their place.

    Args:
        folder: The directory of the checkpoints, which can have moved since they were saved.
        template: ``filename_tmpl`` of CheckpointHook.
    """
    foreign = []
    for key in [key for key in hub.runtime_info if key.startswith('best_ckpt')]:
        path = hub.runtime_info.pop(key)
        name = PurePath(path).name if isinstance(path, str) else None
        if is_checkpoint_name(name, template):
            hub.update_info(key, join_path(folder, name))
        elif path is not None:
            foreign.append(str(path))
    steps = hub.runtime_info.get('keep_ckpt_ids')
    if steps is not None:
        hub.update_info('keep_ckpt_ids', [step for step in steps if isinstance(step, int)])
        foreign += [str(step) for step in steps if not isinstance(step, int)]
    return foreign
