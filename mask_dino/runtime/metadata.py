"""What an exported file says of itself: everything that is needed to prepare images and to read the outputs."""

import json
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

KEY = 'mask_dino'
"""Name of the entry in the file's metadata; its value is the JSON text of a :class:`ModelInfo`."""

FORMAT = 1
"""Version of the entry; a file with a higher one was written by a newer package."""

TASKS = ('detection', 'instance', 'panoptic', 'semantic')


class ModelFileError(ValueError):
    """A model file cannot be used: the message names the file, what is wrong with it and the remedy."""


class ResizeRule(NamedTuple):
    """The size that an image is resized to before it is padded; without any of the sizes, it keeps its own.

    The rules are the same as in ``Resize`` of mmcv and ``ResizeShortestEdge`` of MMSegmentation.
    """

    scale: tuple[int, int] | None = (
        None  # width and height, or the two limits of an image that keeps its ratio
    )
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

    object_mask_thr: float = (
        0.0  # class probability from which a query takes part in the panoptic map
    )
    iou_thr: float = 0.0  # share of its area that a segment has to win
    align_corners: bool = (
        False  # how scores of a semantic model are resized to the size of the image
    )


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
    scores_at_input: bool = (
        False  # whether scores of pixels are made at the padded size and then resized, as in mmseg
    )
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
        info = _parse(fields, ModelInfo, 'it')
        _check_values(info)
    except ModelFileError:
        raise
    except (TypeError, ValueError) as error:
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
    """Find values that contradict each other."""
    unknown = set(info.tasks) - set(TASKS)
    if unknown:
        raise ValueError(f'it.tasks has unknown {", ".join(sorted(unknown))}')
    if len(info.palette) != len(info.classes) or info.num_things > len(info.classes):
        raise ValueError(f'it.palette and it.num_things do not fit {len(info.classes)} classes')
    if info.input.channel_order not in ('RGB', 'BGR'):
        raise ValueError(f'it.input.channel_order is {info.input.channel_order!r}, not RGB or BGR')
    if len(info.input.mean) != 3 or len(info.input.std) != 3:
        raise ValueError('it.input.mean and it.input.std must have a value for each of 3 channels')


Fields = TypeVar('Fields', bound=tuple)


def _parse(fields: object, kind: type[Fields], place: str) -> Fields:
    """Return the named tuple of a type, which must have exactly its fields, with values of their types."""
    hints = get_type_hints(kind)
    if not isinstance(fields, dict):
        raise TypeError(f'{place} must have the fields {", ".join(hints)}, not be {fields!r}')
    for problem, names in (
        ('lacks', hints.keys() - fields),
        ('has unknown', fields.keys() - hints),
    ):
        if names:
            raise TypeError(f'{place} {problem} {", ".join(sorted(names))}')
    return kind(
        **{name: _convert(fields[name], hint, f'{place}.{name}') for name, hint in hints.items()}
    )


def _convert(value: object, hint: Any, place: str) -> object:
    """Return a value of JSON as the type that a field is declared with."""
    kinds = get_args(hint)
    if NoneType in kinds:
        return None if value is None else _convert(value, kinds[0], place)
    if get_origin(hint) is tuple:
        return _convert_list(value, kinds, place)
    if issubclass(hint, tuple):
        return _parse(value, hint, place)
    # In JSON, 1.0 may have become 1; a bool is an int in Python only.
    known = (float, int) if hint is float else (hint,)
    if type(value) not in known:
        raise TypeError(f'{place} must be {hint.__name__}, not {value!r}')
    return value


def _convert_list(value: object, kinds: tuple, place: str) -> tuple:
    """Return a list of JSON as a tuple, of any length where ``kinds`` ends in an ellipsis."""
    if not isinstance(value, list):
        raise TypeError(f'{place} must be a list, not {value!r}')
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise TypeError(f'{place} must have {len(kinds)} values, not {value!r}')
    items = zip(value, kinds, strict=True)
    return tuple(_convert(item, kind, place) for item, kind in items)


def _plain(value: object) -> object:
    """Turn named tuples into dictionaries, at any depth."""
    if hasattr(value, '_asdict'):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
