"""What an exported file says of itself: everything that is needed to prepare images and to read the outputs."""

import json
from typing import NamedTuple

from .parsing import parse_fields

KEY = 'mask_dino'
"""Name of the entry in the file's metadata; its value is the JSON text of a :class:`ModelInfo`."""

FORMAT = 1
"""Version of the entry; a file with a higher one was written by a newer package."""

_PAIRS = ('scores', 'labels', 'boxes', 'mask_index', 'masks')

OUTPUTS_OF_TASKS = dict(
    detection=_PAIRS,
    instance=_PAIRS,
    panoptic=('query_scores', 'probabilities', 'masks'),
    semantic=('probabilities', 'masks'),
)
"""The tasks, and the outputs of the network that their results are made of."""

TASKS = tuple(OUTPUTS_OF_TASKS)

MAX_LENGTH = 2**16
"""Pixels of a side, at most."""


class ModelFileError(ValueError):
    """A model file cannot be used: the message names the file, what is wrong with it and the remedy."""


class ResizeRule(NamedTuple):
    """The size that an image is resized to before it is padded; without any of the sizes, it keeps its own.

    The rules are the same as in ``Resize`` of mmcv and ``ResizeShortestEdge`` of MMSegmentation.
    """

    # Width and height, or the two limits of an image that keeps its ratio.
    scale: tuple[int, int] | None = None
    factor: tuple[float, float] | None = None  # of width and height
    keep_ratio: bool = False
    shortest_edge: int | None = None  # pixels
    max_size: int | None = None  # pixels of the longest edge; with shortest_edge only


class PaddingRule(NamedTuple):
    """How a normalised image is padded, on the right and at the bottom."""

    divisor: int  # height and width become multiples of it
    size: tuple[int, int] | None = None  # height and width at least
    value: float = 0.0  # in units of the normalised image
    joint: bool = True  # whether images of several sizes can be padded to one batch


class InputRule(NamedTuple):
    """What the network takes."""

    mean: tuple[float, ...]  # of each channel, 0 to 255, in the order of the channels
    std: tuple[float, ...]
    channel_order: str  # 'RGB' or 'BGR'
    resize: ResizeRule
    padding: PaddingRule
    name: str = 'images'
    embedded: bool = False  # whether the file normalises and pads (B, H, W, 3) uint8 RGB itself
    static: tuple[int, int, int] | None = None  # batch size, height and width where they are fixed


class Thresholds(NamedTuple):
    """Settings of post-processing, with the names that ``test_cfg`` uses."""

    # Class probability from which a query takes part in the panoptic map.
    object_mask_thr: float = 0.0
    iou_thr: float = 0.0  # share of its area that a segment has to win
    mean_boxes: bool = False  # whether a box is the mean of the predicted one and that of the mask
    # Whether scores are multiplied with the square root of the IoU of the box and that of the mask.
    agreement_scores: bool = False
    # IoU of two boxes of one class above which the worse instance is left out.
    nms_iou: float | None = None
    align_corners: bool = False  # how scores of a semantic model are resized to the image


class Window(NamedTuple):
    """Sliding windows of a semantic model, in pixels of the padded image."""

    crop: tuple[int, int]  # height and width
    stride: tuple[int, int]


class Output(NamedTuple):
    """One output of the network."""

    name: str
    shape: tuple[str, ...]  # B images, N pairs, Q queries, K classes, h x w at stride 4
    meaning: str


class ModelInfo(NamedTuple):
    """Everything that a reader of an exported file needs."""

    tasks: tuple[str, ...]  # of TASKS; empty where the outputs are raw
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # RGB of each class
    num_things: int  # labels from here on are stuff
    input: InputRule
    thresholds: Thresholds
    outputs: tuple[Output, ...]
    # Whether scores of pixels are made at the padded size and then resized, as in mmseg.
    scores_at_input: bool = False
    window: Window | None = None
    config: str = ''  # name of the config
    package_version: str = ''
    format: int = FORMAT

    def to_json(self) -> str:
        """Return the text that is written into a file."""
        return json.dumps(_plain(self))


def read_info(text: str | None, path: object) -> ModelInfo:
    """Read the entry of a file.

    Raises:
        ModelFileError: If there is none, or if it is damaged or from a newer package.
    """
    if not text:
        raise ModelFileError(
            f'{path} has no entry "{KEY}" in its metadata: another program wrote it, or changed it without keeping the '
            'metadata. Use a file that tools/deployment/export.py wrote'
        )
    try:
        fields = json.loads(text)
        _check_version(fields, path)
        info = parse_fields(fields, ModelInfo, 'it')
        _check_values(info)
    except ModelFileError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f'{path} has a damaged entry "{KEY}" in its metadata ({error}): export it again'
        ) from error
    return info


def _check_version(fields: object, path: object) -> None:
    version = fields.get('format') if isinstance(fields, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ModelFileError(
            f'{path} has format {version}, but this package reads formats up to {FORMAT}: install a newer mask_dino'
        )


def _check_values(info: ModelInfo) -> None:
    """Find values that contradict each other, or that no exported file has."""
    count = len(info.classes)
    unknown = set(info.tasks) - set(TASKS)
    if unknown or len(set(info.tasks)) < len(info.tasks):
        raise ValueError(f'it.tasks has unknown {", ".join(sorted(unknown)) or "repetitions"}')
    if len(info.palette) != count or not 0 <= info.num_things <= count:
        raise ValueError(f'it.palette and it.num_things do not fit {count} classes')
    if not all(0 <= value <= 255 for colour in info.palette for value in colour):
        raise ValueError('it.palette must have values from 0 to 255')
    lacking = _needed_outputs(info.tasks) - {output.name for output in info.outputs}
    if info.window and info.tasks not in ((), ('semantic',)):
        raise ValueError('it.window is for semantic maps only')
    if not 0 <= (info.thresholds.nms_iou or 0) <= 1:
        raise ValueError('it.thresholds.nms_iou must be from 0 to 1')
    if info.format < 1:
        raise ValueError(f'it.format is {info.format}, but formats begin with 1')
    if lacking or not info.outputs:
        raise ValueError(f'it.outputs lacks {", ".join(sorted(lacking)) or "all outputs"}')
    _check_input(info.input)
    _check_lengths(info)


def _needed_outputs(tasks: tuple[str, ...]) -> set[str]:
    """Return the outputs that results for these tasks are made of."""
    needed: set[str] = set()
    for task in tasks:
        needed |= set(OUTPUTS_OF_TASKS[task])
    return needed


def _check_input(rule: InputRule) -> None:
    """Find values of the channels that cannot be."""
    if rule.channel_order not in ('RGB', 'BGR'):
        raise ValueError(f'it.input.channel_order is {rule.channel_order!r}, not RGB or BGR')
    if len(rule.mean) != 3 or len(rule.std) != 3:
        raise ValueError('it.input.mean and it.input.std must have a value for each of 3 channels')
    if not all(value > 0 for value in rule.std):
        raise ValueError('it.input.std must be more than 0')


def _check_lengths(info: ModelInfo) -> None:
    """Find sizes in pixels, and factors of sizes, that are too small or too large."""
    resize, padding = info.input.resize, info.input.padding
    window = info.window or Window((1, 1), (1, 1))
    lengths = dict(
        resize_scale=resize.scale,
        resize_factor=resize.factor,
        resize_edges=(resize.shortest_edge or 1, resize.max_size or 1),
        padding_divisor=(padding.divisor,),
        padding_size=padding.size,
        static=info.input.static,
        window=(*window.crop, *window.stride),
    )
    for name, values in lengths.items():
        if not all(0 < value <= MAX_LENGTH for value in values or ()):
            raise ValueError(f'it.{name} must be more than 0 and at most {MAX_LENGTH}')
    steps = zip(window.crop, window.stride, strict=True)
    if any(stride > crop for crop, stride in steps):
        raise ValueError('it.window has a larger stride than crop')


def _plain(value: object) -> object:
    """Turn named tuples into dictionaries, at any depth."""
    if hasattr(value, '_asdict'):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
