"""What a checkpoint holds beyond the content of mmengine, so that a resumed training goes on exactly."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.fileio import join_path
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from ..messages import DataError, first_few


class RandomState(NamedTuple):
    """The states of the global generators of Python, numpy and torch, in types that checkpoints hold."""

    python: tuple[int, Tensor, float | None]  # version, words, the second of two normal numbers
    # Words, position, whether there is a second normal number, that number.
    numpy: tuple[Tensor, int, int, float]
    torch: Tensor
    accelerator: Tensor | None  # of the current device

    @classmethod
    def capture(cls) -> 'RandomState':
        """Return the present state of this process."""
        version, words, second_normal = random.getstate()
        _, keys, position, has_normal, normal = np.random.get_state()
        numpy_words = torch.from_numpy(np.asarray(keys).astype(np.int64))
        return cls(
            python=(version, torch.tensor(words), second_normal),
            numpy=(numpy_words, int(position), int(has_normal), float(normal)),
            torch=torch.get_rng_state(),
            accelerator=torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        )

    @classmethod
    def from_checkpoint(cls, state: dict[str, Any]) -> 'RandomState':
        """Read what `_asdict` wrote; the tensors may lie on any device."""
        return cls(**state)

    def restore(self) -> None:
        """Set the generators of this process to these states."""
        version, words, second_normal = self.python
        random.setstate((version, tuple(words.tolist()), second_normal))
        keys, position, has_normal, normal = self.numpy
        position = min(max(position, 0), len(keys))  # numpy would read memory behind the words
        np.random.set_state(
            ('MT19937', keys.cpu().numpy().astype(np.uint32), position, has_normal, normal)
        )
        torch.set_rng_state(self.torch.cpu())
        if self.accelerator is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.accelerator.cpu())


def seed_generators(entropy: Sequence[int]) -> None:
    """Seed the generators of Python, numpy and torch's CPU from a few numbers."""
    python, numpy, torch_cpu = np.random.SeedSequence(entropy).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(numpy)
    torch.default_generator.manual_seed(torch_cpu)


RESUME_STATE = 'resume_state'
"""The key of a checkpoint for this state."""
NO_SETTINGS = {'base_values', 'last_step', '_global_step', '_last_value', 'verbose'}
"""State of a scheduler that counts, or that repeats a setting of the optimiser."""
REMEDY = 'to train with the setting of the config, start a new training from these weights: load_from={}, resume=False'


Differences = dict[str, tuple[Any, Any]]
"""Settings by name, each with its saved and its configured value."""


class ResumeState(NamedTuple):
    """What is saved in addition to weights, optimiser and schedules; older checkpoints can lack all of it."""

    random_states: Sequence[dict[str, Any]] = ()  # of every process
    batch_size: int = 0  # of all processes together
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
        states = all_gather_object(RandomState.capture()._asdict())
        return cls(random_states=states, batch_size=total_batch_size(runner))

    def restore(self, runner: Runner) -> None:
        """Restore the random state of this process."""
        if len(self.random_states) == get_world_size():
            try:
                RandomState.from_checkpoint(self.random_states[get_rank()]).restore()
            except (AttributeError, TypeError, ValueError, RuntimeError) as error:
                runner.logger.warning(
                    f'the random state in the checkpoint cannot be read ({error}): random numbers are not those of an '
                    'uninterrupted training'
                )
        else:
            runner.logger.warning(
                f'the checkpoint was saved by {len(self.random_states)} processes, and {get_world_size()} go on: '
                'order of images and random numbers differ from a training that was not interrupted'
            )


def total_batch_size(runner: Runner) -> int:
    """Return the number of images of a step, over all processes; 0 where the loader does not tell."""
    sampler = runner.train_loop.dataloader.batch_sampler
    return int(sampler.batch_size) * get_world_size() if sampler is not None else 0


def compare_settings(checkpoint: dict[str, Any], runner: Runner) -> Iterator[str]:
    """Name the settings of a config that a resumed training ignores, because they are part of the checkpoint."""
    wrapper: OptimWrapper = runner.optim_wrapper
    remedy = REMEDY.format(runner.cfg.get('load_from') or 'CHECKPOINT')
    saved_groups = checkpoint.get('optimizer', {}).get('param_groups', [])
    differences = compare_groups(saved_groups, wrapper.optimizer.param_groups)
    differences |= compare_schedules(
        checkpoint.get('param_schedulers', []), runner.param_schedulers
    )
    for name, (saved, configured) in differences.items():
        yield f'{name} = {configured} of the config has no effect: the checkpoint goes on with {saved}; {remedy}'
    saved_size = ResumeState.from_checkpoint(checkpoint).batch_size
    size = total_batch_size(runner)
    if saved_size and saved_size != size:
        yield (
            f'the batch size is {size}, but the learning rate of the checkpoint is for '
            f'{saved_size} images per step; the order of images also differs; {remedy}'
        )


def check_groups(checkpoint: dict[str, Any], runner: Runner) -> None:
    """Refuse to resume an optimiser that has other groups of parameters.

    Raises:
        DataError: The numbers of parameters of the groups differ.
    """
    path = runner.cfg.get('load_from') or 'CHECKPOINT'
    groups = runner.optim_wrapper.optimizer.param_groups
    saved_groups = checkpoint.get('optimizer', {}).get('param_groups', groups)
    sizes = [len(group['params']) for group in groups]
    saved_sizes = [len(group['params']) for group in saved_groups]
    if sizes != saved_sizes:
        raise DataError(
            f'{path}: the training cannot be resumed, because its optimiser has groups of {first_few(saved_sizes)} '
            f'parameters, and the optimiser of the config has groups of {first_few(sizes)}. Either '
            'optim_wrapper.paramwise_cfg or the layers of the model differ, or the checkpoint was saved before '
            'version 0.2. Resume with the settings and the version of the checkpoint. Or, '
            f'{REMEDY.format(path)}'
        )


def compare_groups(saved: list[dict[str, Any]], configured: list[dict[str, Any]]) -> Differences:
    """Return the settings of an optimiser that differ, each with its first two values."""
    differences: Differences = {}
    # check_groups refuses another number of groups.
    for old, new in zip(saved, configured, strict=False):
        old_settings = settings_of_group(old)
        new_settings = settings_of_group(new)
        differences = different_values(old_settings, new_settings) | differences
    return differences


def settings_of_group(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a group of parameters, with the learning rate from which schedules start."""
    others = ('params', 'lr', 'initial_lr')
    settings = {name: value for name, value in group.items() if name not in others}
    settings['lr'] = group.get('initial_lr', group['lr'])
    return settings


def compare_schedules(saved: Any, schedulers: Any) -> Differences:
    """Return the settings of schedules that differ, and their numbers if these do."""
    if not isinstance(saved, list) or not isinstance(schedulers, list):
        return {}
    differences: Differences = {}
    if len(saved) != len(schedulers):
        differences['number of param_scheduler'] = (len(saved), len(schedulers))
    for index, (old, scheduler) in enumerate(zip(saved, schedulers, strict=False)):
        for name, values in different_values(old, scheduler.state_dict()).items():
            differences[f'param_scheduler[{index}].{name}'] = values
    return differences


def different_values(saved: dict[str, Any], configured: dict[str, Any]) -> Differences:
    """Return the settings whose saved and configured values differ; an absent setting counts as None."""
    names = sorted((saved.keys() | configured.keys()) - NO_SETTINGS)
    pairs = {name: (plain(saved.get(name)), plain(configured.get(name))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def plain(value: Any) -> Any:
    """Return a setting as it is written in a config: lists instead of tuples, keys instead of counts."""
    if isinstance(value, Counter):
        return sorted(value.elements())
    return list(value) if isinstance(value, tuple) else value


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
