"""From a trained model to a file that was compared with it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..runtime.images import load_image, make_batch, padded_size, resize_image
from ..runtime.metadata import InputRule, ModelInfo
from . import rules
from .formats import MAX_OPSET, MIN_OPSET, SUFFIXES, Target, open_network, trace_network, write_file
from .graph import ExportedNetwork
from .model import TrainedModel
from .packages import ExportError
from .parity import compare_outputs

Say = Callable[[str], None]


MAX_TRACED = 2**13
"""Pixels of a side of the images of a trace, which the model also has to compute."""


class Options(NamedTuple):
    """What a user asks for."""

    format: str = 'onnx'  # of formats.SUFFIXES
    tasks: tuple[str, ...] = ()  # empty: the tasks of the config
    raw: bool = False  # predictions of all queries instead of results
    size: tuple[int, int] = (512, 512)  # height and width of the trace
    static: bool = False  # whether files take images of this size only
    embedded: bool = False  # whether files normalise and pad images themselves
    opset: int = 18
    tolerance: float = 1e-3
    image: Path | None = None  # to compare the file and the model on; None: a seeded one


class ParityError(RuntimeError):
    """The exported file does not compute what the model computes."""


def check_options(options: Options, path: Path) -> None:
    """Find options that do not fit together before anything is built.

    Raises:
        ExportError: If there are any.
    """
    suffix = SUFFIXES[options.format]
    if path.suffix != suffix:
        raise ExportError(f'{path}: a file of --format {options.format} ends in {suffix}')
    if path.is_dir():
        raise ExportError(f'{path} is a folder; give the name of a file')
    if path.parent.exists() and not path.parent.is_dir():
        raise ExportError(f'{path}: {path.parent} is a file, not a folder; choose another place')
    height, width = options.size
    if min(options.size) < 1 or max(options.size) > MAX_TRACED:
        raise ExportError(
            f'--size {height}x{width}: height and width must be 1 to {MAX_TRACED} pixels; larger images need no '
            'larger trace'
        )
    if not MIN_OPSET <= options.opset <= MAX_OPSET:
        raise ExportError(
            f'--opset {options.opset}: choose {MIN_OPSET} to {MAX_OPSET}; torch writes no older ones, and the sampling '
            'of the attention (GridSample) exists from 16 on only'
        )
    if not options.tolerance >= 0:
        raise ExportError(f'--tolerance {options.tolerance}: choose a difference of 0 or more')
    if options.static and options.embedded:
        raise ExportError(
            '--static with --embed-preprocessing: images are padded after they are normalised, so that the size of '
            'the input cannot be fixed; leave one of the two out'
        )
    if options.raw and options.tasks:
        raise ExportError(
            '--raw with --task: raw outputs contain all queries, whatever the task; leave one of the two out'
        )


def make_info(network: ExportedNetwork, trained: TrainedModel) -> ModelInfo:
    """Return everything that a reader of the file needs."""
    return ModelInfo(
        tasks=network.tasks,
        classes=trained.classes,
        palette=trained.palette,
        num_things=trained.head.num_things_classes,
        input=network.rule,
        thresholds=rules.read_thresholds(trained),
        outputs=network.describe_outputs(),
        scores_at_input=rules.is_semantic(trained),
        window=rules.read_window(trained),
        config=Path(trained.config.filename or '').name,
        package_version=__version__,
    )


def build_network(trained: TrainedModel, options: Options) -> ExportedNetwork:
    """Return the network to export.

    Raises:
        ExportError: If the options or the config ask for what cannot be exported.
    """
    static = options.size if options.static else None
    rule = rules.read_input_rule(trained, options.embedded, static)
    divisor = rule.padding.divisor
    if static and any(side % divisor for side in static):
        raise ExportError(
            f'--static --size {static[0]}x{static[1]}: the config pads images to multiples of {divisor}; choose '
            f'{-(-static[0] // divisor) * divisor}x{-(-static[1] // divisor) * divisor}'
        )
    if not static and min(options.size) <= divisor:
        raise ExportError(
            f'--size {options.size[0]}x{options.size[1]}: height and width cannot be left open from a trace of so '
            f'small an image; choose {2 * divisor}x{2 * divisor} or more, or add --static'
        )
    if rules.read_window(trained) and options.embedded:
        raise ExportError(
            '--embed-preprocessing: windows of mode slide are cut from the padded image; leave it out'
        )
    tasks = () if options.raw else rules.choose_tasks(trained, options.tasks)
    return ExportedNetwork(trained, tasks, rule, rules.read_ranking(trained)).eval()


def export_model(
    trained: TrainedModel, path: Path, options: Options, say: Say = print
) -> ModelInfo:
    """Write a file, compare it with the model, and put it in its place; nothing remains of a file that fails.

    Raises:
        ExportError: If the options or the config ask for what cannot be exported.
        ParityError: If the file computes something else.
        OSError: If the file cannot be written.
    """
    network = build_network(trained, options)
    info = make_info(network, trained)
    images = example_images(network.rule, options)
    with make_folder(path) as folder:
        say(f'tracing the network at {options.size[0]} x {options.size[1]}')
        program = trace_network(network, torch.from_numpy(images[0]), options.format)
        part = Path(folder) / path.name
        say(f'writing {options.format}')
        target = Target(part, options.format, options.opset)
        try:
            files = write_file(program, torch.from_numpy(images[0]), info, target)
        except OSError as error:
            raise OSError(_unwritable(path, error)) from error
        check_parity(
            open_network(part, options.format).run, network, images, options.tolerance, say
        )
        for file in reversed(files):  # the one that is named comes last
            file.replace(path.with_name(file.name))
    return info


def make_folder(path: Path) -> tempfile.TemporaryDirectory:
    """Make a hidden folder beside a file that will be written, before the time of a trace is spent.

    Raises:
        OSError: If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent)
    except OSError as error:
        raise OSError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    return f'{path} cannot be written: {error.strerror or error}; free some space or choose another place'


def example_images(rule: InputRule, options: Options) -> list[np.ndarray]:
    """Return two inputs of the network, of two sizes where sizes are open: of an image, or of seeded blocks."""
    height, width = options.size
    other = (height, width) if rule.static else (height + 32, max(64, width // 2))
    pixels = seeded_image() if options.image is None else load_image(options.image)
    batches = []
    for number, (rows, columns) in enumerate(((height, width), other)):
        view = pixels[:, ::-1] if number else pixels
        image = resize_image(view, rows, columns)
        padded = padded_size([image.shape[:2]], rule.padding)
        batches.append(make_batch([image], rule, padded))
    # A batch of one would fix the number of images of the trace.
    if not rule.static:
        batches[0] = np.concatenate([batches[0], batches[0][:, ::-1]])
    return batches


def seeded_image() -> np.ndarray:
    """Return blocks of random colours with noise (480, 640, 3) uint8."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (15, 20, 3)).repeat(32, axis=0).repeat(32, axis=1)
    noise = generator.integers(-40, 41, blocks.shape)
    pixels = (blocks + noise).clip(0, 255)
    return pixels.astype(np.uint8)


def check_parity(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    network: ExportedNetwork,
    images: list[np.ndarray],
    tolerance: float,
    say: Say = print,
) -> None:
    """Compare a file with the model, on batches (B, 3, H, W), or (B, H, W, 3) where the file normalises images.

    Raises:
        ParityError: If an output differs by more than the tolerance.
    """
    names = [output.name for output in network.describe_outputs()]
    problems: list[str] = []
    for batch in images:
        file = run(batch)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch))
        for index in range(len(batch)):
            model = {
                name: value[index].numpy() for name, value in zip(names, expected, strict=True)
            }
            outputs = {name: value[index] for name, value in file.items()}
            differences = compare_outputs(outputs, model)
            listed = ', '.join(f'{name} {value:.1e}' for name, value in differences.items())
            say(f'largest differences, image {index + 1} of an input of {_size(batch)}: {listed}')
            problems += [name for name, value in differences.items() if not value <= tolerance]
    if problems:
        raise ParityError(
            f'the file differs from the model by more than --tolerance {tolerance} in: '
            f'{", ".join(sorted(set(problems)))}'
        )


def _size(batch: np.ndarray | Tensor) -> str:
    return ' x '.join(map(str, batch.shape))
