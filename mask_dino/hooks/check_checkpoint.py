"""A readable account of what is taken from a checkpoint."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint

from ..checkpoints import CheckpointError
from ..checkpoints.classes import ClassDifference, describe_remedy, find_difference, read_classes, to_names
from ..checkpoints.maskdino import DERIVED
from ..messages import first_few, plural
from .check_data import unwrap

Shape = tuple[int, ...]

FEW = 0.1
"""Share of a model's tensors below which a checkpoint is that of another model."""
ORIGINAL = 'sem_seg_head.'
"""What names of the original implementation start with."""


class Comparison(NamedTuple):
    """Names of tensors, by how they fit."""

    taken: list[str]
    reshaped: dict[str, tuple[Shape, Shape]]  # in the checkpoint and in the model
    missing: list[str]  # in the checkpoint
    unknown: list[str]  # to the model

    @property
    def is_complete(self) -> bool:
        """Whether the model has all of its tensors from the checkpoint."""
        return not self.reshaped and not self.missing

    @property
    def is_foreign(self) -> bool:
        """Whether the checkpoint is that of another model."""
        return len(self.taken) < FEW * (len(self.taken) + len(self.reshaped) + len(self.missing))

    def __str__(self) -> str:
        """Return one line on each kind of tensors."""
        lines = [f'{plural(len(self.taken), "tensor")} fit']
        if self.reshaped:
            shapes = (f'{name} {there} -> {here}' for name, (there, here) in self.reshaped.items())
            lines.append(f'{len(self.reshaped)} of another shape (checkpoint -> model): {first_few(shapes)}')
        if self.missing:
            lines.append(f'{len(self.missing)} of the model not in the checkpoint: {by_module(self.missing)}')
        if self.unknown:
            lines.append(f'{len(self.unknown)} of the checkpoint not in the model: {by_module(self.unknown)}')
        return '\n  '.join(lines)


def compare(checkpoint: Mapping[str, Shape], model: Mapping[str, Shape]) -> Comparison:
    """Compare names and shapes of a checkpoint with those of a model, as mmengine loads them."""
    shared = [name for name in model if name in checkpoint]
    reshaped = {name: (checkpoint[name], model[name]) for name in shared if checkpoint[name] != model[name]}
    return Comparison(
        taken=[name for name in shared if name not in reshaped],
        reshaped=reshaped,
        missing=[name for name in model if name not in checkpoint and not name.endswith(DERIVED)],
        unknown=[name for name in checkpoint if name not in model and not name.endswith(DERIVED)],
    )


def shapes(state: Mapping[str, Any]) -> dict[str, Shape]:
    """Return the shapes of the tensors in a state, whose names may come from a wrapped model."""
    return {
        name.removeprefix('module.'): tuple(value.shape) for name, value in state.items() if hasattr(value, 'shape')
    }


def is_original(names: Iterable[str]) -> bool:
    """Tell whether tensors go by the names of the original implementation."""
    return any(name.startswith(ORIGINAL) for name in names)


def by_module(names: Iterable[str]) -> str:
    """Count names by their first two parts, for they may be many."""
    counts = Counter('.'.join(name.split('.')[:2]) for name in names)
    return first_few(f'{module} ({count})' for module, count in counts.items())


HEADS = ('panoptic_head.', 'decode_head.')
"""What names of the network behind the backbone begin with, under MMDetection and MMSegmentation."""


@HOOKS.register_module()
class CheckCheckpointHook(Hook):
    """Reports which tensors of a checkpoint fit the model, and stops where the results would be wrong.

    mmengine takes what fits and prints the rest, also where nothing fits at all. It does not compare the classes: a
    model of other classes of the same number would be tested without a word.
    """

    # Before EMAHook, which also reads the checkpoint.
    priority = 'HIGH'

    def __init__(self) -> None:
        self.file = ''
        self.classes: tuple[str, ...] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare a checkpoint with the model before it is loaded.

        Raises:
            CheckpointError: If it is that of another model, or if parts are missing in a test or a resumed training.
        """
        cfg = runner.cfg
        file = str(cfg.get('load_from') or find_latest_checkpoint(runner.work_dir))
        self.file, self.classes = file, read_classes(checkpoint)
        # Original checkpoints keep their tensors under 'model', where mmengine does not look.
        if is_original({**shapes(checkpoint.get('model') or {}), **shapes(loaded(checkpoint))}):
            raise CheckpointError(original_message(file))
        own = shapes(unwrap(runner.model).state_dict())
        adopt_head(loaded(checkpoint), own)
        result = compare(shapes(loaded(checkpoint)), own)
        if result.is_foreign:
            raise CheckpointError(foreign_message(file, result))
        training = isinstance(runner.optim_wrapper, OptimWrapper)
        if not result.is_complete and (cfg.get('resume') or not training):
            raise CheckpointError(incomplete_message(file, result, training))
        if result.is_complete and not result.unknown:
            runner.logger.info(f'checkpoint {file}: {result}')
        else:
            rest = 'What does not fit is dropped, and the rest of the model keeps its initial values.'
            runner.logger.warning(f'checkpoint {file}: {result}\n  {rest}')

    def before_train(self, runner: Runner) -> None:
        """Compare the classes of a loaded checkpoint with the classes of the training data.

        Raises:
            CheckpointError: If they differ and the training is resumed.
        """
        is_resumed = bool(runner.cfg.get('resume'))
        self.check_classes(runner, runner.train_loop.dataloader.dataset, 'train_dataloader', is_resumed)

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
        # Data sets of plain torch have no metainfo.
        expected = to_names(getattr(dataset, 'metainfo', {}).get('classes'))
        difference = find_difference(self.classes, expected)
        if difference is None:
            return
        message = f'checkpoint {self.file} and {loader}.dataset have other classes: {difference}.'
        if must_agree and not difference.is_spelling:
            raise CheckpointError(f'{message}\n{describe_remedy(difference, f"{loader}.dataset")}')
        runner.logger.warning(f'{message} {describe_consequence(difference)}')


def describe_consequence(difference: ClassDifference) -> str:
    """Say what a run does that goes on although names of classes differ."""
    if difference.is_spelling:
        return 'They differ in spelling only and are taken for the same.'
    if difference.same_count:
        return 'The class layers fit and are loaded: each class starts from the class that had its number.'
    return 'The class layers do not fit and start from initial values.'


def loaded(checkpoint: dict) -> dict:
    """Return the part of a checkpoint in which mmengine looks for tensors."""
    state: dict = checkpoint.get('state_dict', checkpoint)
    return state


def adopt_head(state: dict, own: Iterable[str]) -> None:
    """Call the head of a checkpoint, in place, as the model does; below it, the names under both frameworks are one."""
    there, here = ({head for head in HEADS if any(head in name for name in names)} for names in (state, own))
    if len(there) != 1 or len(here) != 1:
        return
    (old,), (new,) = there, here
    for name in [name for name in state if old in name]:
        state[name.replace(old, new, 1)] = state.pop(name)


def original_message(file: str) -> str:
    """Say that a checkpoint has to be converted."""
    converted = Path(file).with_suffix('.mmdet.pth').name
    return (
        f'checkpoint {file} has the tensor names of the original implementation. Convert it: '
        f'python tools/model_converters/maskdino_to_mmdet.py {file} {converted}'
    )


def foreign_message(file: str, result: Comparison) -> str:
    """Say that a checkpoint is that of another model."""
    return (
        f'checkpoint {file} is that of another model: {result}\n'
        'Load one of the same architecture (the config beside a checkpoint tells), or correct the config.'
    )


def incomplete_message(file: str, result: Comparison, training: bool) -> str:
    """Say that a test, or a training to be resumed, needs all tensors."""
    purpose, remedy = 'the model under test', 'Test with the config it was trained with.'
    if training:
        purpose = 'the training to be resumed'
        remedy = 'Resume with the config it was trained with, or fine-tune: load_from=CHECKPOINT with resume=False.'
    return f'checkpoint {file} does not fit {purpose}: {result}\n{remedy}'
