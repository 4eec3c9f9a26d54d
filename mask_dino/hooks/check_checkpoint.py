"""Reports which tensors and classes of a checkpoint fit, and stops a run whose results would be wrong."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint

from ..checkpoints import CheckpointError
from ..checkpoints.classes import (
    ClassDifference,
    describe_remedy,
    find_difference,
    read_classes,
    to_names,
)
from ..checkpoints.maskdino import Comparison, compare_tensors, read_shapes
from ..datasets.checks.config import read_metainfo
from ..messages import first_few, plural
from .check_data import unwrap_model

MIN_FITTING_SHARE = 0.1
"""Share of a model's tensors below which a checkpoint belongs to another model."""
ORIGINAL_PREFIX = 'sem_seg_head.'
"""What names of the original implementation start with."""
HEAD_PREFIXES = ('panoptic_head.', 'decode_head.')
"""What names of the network behind the backbone start with, under MMDetection and MMSegmentation."""


def is_complete(result: Comparison) -> bool:
    """Return whether the model has all of its tensors from the checkpoint."""
    return not result.reshaped and not result.missing


def is_foreign(result: Comparison) -> bool:
    """Return whether the checkpoint belongs to another model."""
    total = len(result.fitting) + len(result.reshaped) + len(result.missing)
    return len(result.fitting) < MIN_FITTING_SHARE * total


def describe_comparison(result: Comparison) -> str:
    """Return one line on each kind of tensors."""
    lines = [f'{plural(len(result.fitting), "tensor")} fit']
    if result.reshaped:
        shapes = (
            f'{name} {shape} -> {expected}' for name, (shape, expected) in result.reshaped.items()
        )
        lines.append(
            f'{len(result.reshaped)} of another shape (checkpoint -> model): {first_few(shapes)}'
        )
    if result.missing:
        lines.append(
            f'{len(result.missing)} of the model not in the checkpoint: {count_by_module(result.missing)}'
        )
    if result.unknown:
        lines.append(
            f'{len(result.unknown)} of the checkpoint not in the model: {count_by_module(result.unknown)}'
        )
    return '\n  '.join(lines)


def is_original(names: Iterable[str]) -> bool:
    """Return whether tensors have the names of the original implementation."""
    return any(name.startswith(ORIGINAL_PREFIX) for name in names)


def count_by_module(names: Iterable[str]) -> str:
    """Count names by their first two parts, for they may be many."""
    counts = Counter('.'.join(name.split('.')[:2]) for name in names)
    return first_few(f'{module} ({count})' for module, count in counts.items())


@HOOKS.register_module()
class CheckCheckpointHook(Hook):
    """Reports which tensors of a checkpoint fit the model, and stops where the results would be wrong.

    mmengine takes what fits and prints the rest, also where nothing fits at all. It does not compare the classes: it
    tests a model with the same number of other classes without a message.
    """

    # Before EMAHook, which also reads the checkpoint.
    priority = 'HIGH'

    def __init__(self) -> None:
        self.file = ''
        self.classes: tuple[str, ...] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare a checkpoint with the model before it is loaded.

        Raises:
            CheckpointError: If it belongs to another model, or if parts are missing in a test or a resumed training.
        """
        cfg = runner.cfg
        file = str(cfg.get('load_from') or find_latest_checkpoint(runner.work_dir))
        self.file, self.classes = file, read_classes(checkpoint)
        state = get_state(checkpoint)
        # Original checkpoints keep their tensors under 'model', where mmengine does not look.
        names = [*(checkpoint.get('model') or {}), *state]
        if is_original(names):
            raise CheckpointError(describe_original(file))
        expected = read_shapes(unwrap_model(runner.model).state_dict())
        rename_head(state, expected)
        result = compare_tensors(read_shapes(state), expected)
        if is_foreign(result):
            raise CheckpointError(describe_foreign(file, result))
        training = isinstance(runner.optim_wrapper, OptimWrapper)
        if not is_complete(result) and (cfg.get('resume') or not training):
            raise CheckpointError(describe_incomplete(file, result, training))
        report = f'checkpoint {file}: {describe_comparison(result)}'
        if is_complete(result) and not result.unknown:
            runner.logger.info(report)
        else:
            rest = (
                'What does not fit is dropped, and the rest of the model keeps its initial values.'
            )
            runner.logger.warning(f'{report}\n  {rest}')

    def before_train(self, runner: Runner) -> None:
        """Compare the classes of a loaded checkpoint with the classes of the training data.

        Raises:
            CheckpointError: If they differ and the training is resumed.
        """
        is_resumed = bool(runner.cfg.get('resume'))
        self.check_classes(
            runner, runner.train_loop.dataloader.dataset, 'train_dataloader', is_resumed
        )

    def before_val(self, runner: Runner) -> None:
        """Do what ``before_test`` does, if this validation is not part of a training."""
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            self.check_classes(runner, runner.val_loop.dataloader.dataset, 'val_dataloader', True)

    def before_test(self, runner: Runner) -> None:
        """Compare the classes of a loaded checkpoint with the classes of the test data.

        Raises:
            CheckpointError: If they differ.
        """
        self.check_classes(runner, runner.test_loop.dataloader.dataset, 'test_dataloader', True)

    def check_classes(self, runner: Runner, dataset: Any, loader: str, must_agree: bool) -> None:
        """Compare the classes of a loaded checkpoint with the classes of a data set.

        Args:
            loader: Name of the data set's loader in the config.
            must_agree: Whether other classes are an error. Otherwise the log says what happens to the class layers.

        Raises:
            CheckpointError: If the classes must agree and do not.
        """
        expected = to_names(read_metainfo(dataset).get('classes'))
        difference = find_difference(self.classes, expected)
        if difference is None:
            return
        message = f'checkpoint {self.file} and {loader}.dataset have other classes: {difference}.'
        if must_agree and not difference.is_spelling:
            raise CheckpointError(f'{message}\n{describe_remedy(difference, f"{loader}.dataset")}')
        runner.logger.warning(f'{message} {describe_consequence(difference)}')


def describe_consequence(difference: ClassDifference) -> str:
    """Say what happens to the class layers in a run that continues although names of classes differ."""
    if difference.is_spelling:
        return 'They differ in spelling only and are taken for the same.'
    if difference.same_count:
        return 'The class layers fit and are loaded: each class starts from the class that had its number.'
    return 'The class layers do not fit and start from initial values.'


def get_state(checkpoint: dict) -> dict:
    """Return the part of a checkpoint in which mmengine looks for tensors."""
    state: dict = checkpoint.get('state_dict', checkpoint)
    return state


def rename_head(state: dict, expected: Iterable[str]) -> None:
    """Give the head of a checkpoint, in place, the name it has in the model; below it, both frameworks agree."""
    stored = find_heads(state)
    own = find_heads(expected)
    if len(stored) != 1 or len(own) != 1:
        return
    renamed = [name for name in state if stored[0] in name]
    for name in renamed:
        state[name.replace(stored[0], own[0], 1)] = state.pop(name)


def find_heads(names: Iterable[str]) -> list[str]:
    """Return the heads of either framework that occur in names of tensors."""
    listed = list(names)
    return [head for head in HEAD_PREFIXES if any(head in name for name in listed)]


def describe_original(file: str) -> str:
    """Say that a checkpoint has to be converted."""
    converted = Path(file).with_suffix('.mmdet.pth').name
    return (
        f'checkpoint {file} has the tensor names of the original implementation. Convert it: '
        f'python tools/model_converters/maskdino_to_mmdet.py {file} {converted}'
    )


def describe_foreign(file: str, result: Comparison) -> str:
    """Say that a checkpoint belongs to another model."""
    return (
        f'checkpoint {file} belongs to another model: {describe_comparison(result)}\n'
        'Load a checkpoint of the same architecture, which is described by the config in its folder, or correct the '
        'config.'
    )


def describe_incomplete(file: str, result: Comparison, training: bool) -> str:
    """Say that a test, or a training to be resumed, needs all tensors."""
    purpose = 'the model under test'
    remedy = 'Test with the config it was trained with.'
    if training:
        purpose = 'the training to be resumed'
        remedy = 'Resume with the config it was trained with, or fine-tune: load_from=CHECKPOINT with resume=False.'
    return f'checkpoint {file} does not fit {purpose}: {describe_comparison(result)}\n{remedy}'
