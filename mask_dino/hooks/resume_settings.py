"""Which settings of a config differ from the settings of the checkpoint from which a training is resumed."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..messages import DataError, first_few, plural
from .resume_state import (
    ResumeState,
    accumulative_counts,
    annotation_files,
    first_iteration,
    total_batch_size,
)

NO_SETTINGS = {'base_values', 'last_step', '_global_step', '_last_value', 'verbose'}
"""State of a scheduler that counts, or that repeats a setting of the optimiser."""
RESTART = 'to train with the setting of the config, start a new training from these weights: load_from={}, resume=False'

Differences = dict[str, tuple[Any, Any]]
"""Settings by name, each with its saved and its configured value."""


def prepare_to_resume(checkpoint: dict[str, Any], runner: Runner) -> None:
    """Compare a config with a checkpoint, log what differs, and set the iteration at which the training goes on.

    Raises:
        DataError: The optimiser has other groups of parameters.
    """
    check_groups(checkpoint, runner)
    for message in compare_settings(checkpoint, runner):
        runner.logger.warning(message)
    steps = ResumeState.from_checkpoint(checkpoint).steps_per_epoch
    meta = checkpoint['meta']
    meta['iter'] = first_iteration(meta['iter'], meta['epoch'], steps, runner.train_loop)


def compare_settings(checkpoint: dict[str, Any], runner: Runner) -> Iterator[str]:
    """Name the settings of a config that a resumed training ignores, because they are part of the checkpoint."""
    wrapper: OptimWrapper = runner.optim_wrapper
    remedy = RESTART.format(runner.cfg.get('load_from') or 'CHECKPOINT')
    saved_groups = checkpoint.get('optimizer', {}).get('param_groups', [])
    differences = compare_groups(saved_groups, wrapper.optimizer.param_groups)
    differences |= compare_schedules(
        checkpoint.get('param_schedulers', []), runner.param_schedulers
    )
    for name, (saved, configured) in differences.items():
        yield f'{name} = {configured} of the config has no effect: the checkpoint goes on with {saved}; {remedy}'
    yield from (f'{problem}; {remedy}' for problem in compare_batches(checkpoint, runner))
    yield from compare_data(checkpoint, runner)


def compare_batches(checkpoint: dict[str, Any], runner: Runner) -> Iterator[str]:
    """Say how many images the learning rate of a checkpoint is for, where a config has another number."""
    saved = ResumeState.from_checkpoint(checkpoint)
    size, saved_size = total_batch_size(runner), saved.batch_size
    if saved_size and saved_size != size:
        yield (
            f'the batch size is {size}, but the learning rate of the checkpoint is for '
            f'{saved_size} images per step; the order of images also differs'
        )
    counts, saved_counts = accumulative_counts(runner), saved.accumulative_counts
    if saved_counts and saved_counts != counts:
        yield (
            f'the gradients of {plural(counts, "step")} are added up (optim_wrapper.accumulative_counts), but the '
            f'learning rate of the checkpoint is for {saved_counts}'
        )


def compare_data(checkpoint: dict[str, Any], runner: Runner) -> Iterator[str]:
    """Say how the training data differ from the data of a checkpoint; the training goes on with the new data."""
    saved = ResumeState.from_checkpoint(checkpoint)
    loader = runner.train_loop.dataloader
    files = annotation_files(loader.dataset)
    if saved.annotation_files and list(saved.annotation_files) != files:
        yield (
            f'the training data are {first_few(files)}, and the data of the checkpoint were '
            f'{first_few(saved.annotation_files)}: the training goes on with the new data'
        )
    if saved.num_images not in (0, len(loader.dataset)):
        yield (
            f'the training data have {plural(len(loader.dataset), "image")}, and the data of the checkpoint had '
            f'{saved.num_images}: the order of images differs from a training that was not interrupted'
        )
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    if by_epoch and saved.steps_per_epoch not in (0, len(loader)):
        epoch = checkpoint['meta']['epoch']
        yield (
            f'an epoch has {plural(len(loader), "step")}, and an epoch of the checkpoint had {saved.steps_per_epoch}: '
            f'the training goes on at the start of epoch {epoch + 1}, which is iteration {epoch * len(loader)}. '
            'Schedules that count iterations go on as saved; those with by_epoch=True fit'
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
            f'{RESTART.format(path)}'
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
    pairs = {name: (to_plain(saved.get(name)), to_plain(configured.get(name))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def to_plain(value: Any) -> Any:
    """Return a setting as it is written in a config: lists instead of tuples, keys instead of counts."""
    if isinstance(value, Counter):
        return sorted(value.elements())
    return list(value) if isinstance(value, tuple) else value
