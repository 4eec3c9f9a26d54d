"""What an exported file says of itself: everything that is needed to prepare images and to read the outputs."""

import json
from typing import NamedTuple

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
            f'{path} has no entry "{KEY}" in its metadata: another program wrote it. Use a file that '
            'tools/deployment/export.py wrote'
        )
    try:
        fields = json.loads(text)
        if fields['format'] > FORMAT:
            raise ModelFileError(
                f'{path} has format {fields["format"]}, but this package reads formats up to {FORMAT}: '
                f'install mask_dino {fields["package_version"]} or newer'
            )
        return _info(fields)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelFileError(
            f'{path} has a damaged entry "{KEY}" in its metadata ({error!r}): export it again'
        ) from error


def _info(fields: dict) -> ModelInfo:
    rules = fields['input']
    resize = ResizeRule(**_tuples(rules['resize']))
    padding = PaddingRule(**_tuples(rules['padding']))
    window = fields['window']
    known = dict(
        input=InputRule(**_tuples(rules) | dict(resize=resize, padding=padding)),
        thresholds=Thresholds(**fields['thresholds']),
        outputs=tuple(Output(**_tuples(output)) for output in fields['outputs']),
        window=Window(**_tuples(window)) if window else None,
        palette=tuple(tuple(colour) for colour in fields['palette']),
    )
    return ModelInfo(**_tuples(fields) | known)


def _plain(value: object) -> object:
    """Turn named tuples into dictionaries, at any depth."""
    if hasattr(value, '_asdict'):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _tuples(fields: dict) -> dict:
    """Turn the lists of a dictionary, which are tuples in JSON, back into tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
