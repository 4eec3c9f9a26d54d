"""What a reader of the exported file has to know, read off the config: classes, sizes, thresholds."""

from typing import Any

from mmengine.config import ConfigDict

from ..postprocess import TEMPERATURE
from ..runtime.metadata import InputRule, PaddingRule, ResizeRule, Thresholds, Window
from .graph import Ranking
from .model import TrainedModel
from .packages import ExportError

LOADING_TRANSFORMS = (
    'LoadImageFromFile',
    'LoadAnnotations',
    'LoadPanopticAnnotations',
    'LoadCocoPanopticAnnotations',
)
"""Transforms of a test pipeline that change no pixel."""


def is_semantic(trained: TrainedModel) -> bool:
    """Tell whether a model is one of MMSegmentation."""
    return trained.config.get('default_scope') == 'mmseg'


def choose_tasks(trained: TrainedModel, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tasks to export: those that are requested, else what the config switches on.

    Raises:
        ExportError: If the model cannot do one of them.
    """
    if is_semantic(trained):
        if set(requested) - {'semantic'}:
            raise ExportError(
                '--task: a model of MMSegmentation makes semantic maps only; leave --task out'
            )
        return ('semantic',)
    settings = trained.config.model.test_cfg
    switches = dict(
        instance=settings.instance_on, panoptic=settings.panoptic_on, semantic=settings.semantic_on
    )
    return requested or tuple(task for task, on in switches.items() if on)


def read_input_rule(
    trained: TrainedModel, embedded: bool, static: tuple[int, int] | None
) -> InputRule:
    """Return what happens to an image before the network.

    Args:
        embedded: Whether the file will normalise and pad images itself.
        static: Height and width, where they are fixed.

    Raises:
        ExportError: If the test pipeline or the preprocessor does what the runtime does not.
    """
    settings = trained.config.model.data_preprocessor
    mean, std = settings.get('mean') or [0.0] * 3, settings.get('std') or [1.0] * 3
    swapped = settings.get('bgr_to_rgb', False) or settings.get('rgb_to_bgr', False)
    return InputRule(
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        channel_order='RGB' if swapped else 'BGR',  # the frameworks load BGR
        resize=read_resize_rule(trained.config.test_dataloader.dataset.pipeline),
        padding=read_padding_rule(settings, is_semantic(trained)),
        embedded=embedded,
        static=(1, *static) if static else None,
    )


def read_resize_rule(pipeline: list[ConfigDict]) -> ResizeRule:
    """Read the size of images from a test pipeline. The errors are the same as for :func:`read_input_rule`."""
    rule = ResizeRule()
    for transform in pipeline:
        name = transform['type'].rpartition('.')[2]
        if name.startswith('Pack') or name in LOADING_TRANSFORMS:
            continue
        if name == 'Resize' and rule == ResizeRule():
            rule = _resize(transform)
        elif name == 'ResizeShortestEdge' and rule == ResizeRule():
            rule = _resize_shortest_edge(transform)
        else:
            raise ExportError(
                f'test_dataloader.dataset.pipeline has {transform}, which the runtime does not know. It knows one '
                'Resize or ResizeShortestEdge: change the pipeline with --cfg-options'
            )
    return rule


def _resize(transform: ConfigDict) -> ResizeRule:
    for name, default in (('interpolation', 'bilinear'), ('backend', 'cv2')):
        if transform.get(name, default) != default:
            raise ExportError(
                f'Resize has {name}={transform[name]!r} in the test pipeline, but the runtime resizes with {default!r}'
            )
    scale, factor = transform.get('scale'), transform.get('scale_factor')
    scale = (scale, scale) if isinstance(scale, int) else scale
    factor = (factor, factor) if isinstance(factor, float) else factor
    return ResizeRule(
        scale=tuple(scale) if scale else None,
        factor=None if scale or factor is None else tuple(factor),
        keep_ratio=transform.get('keep_ratio', False),
    )


def _resize_shortest_edge(transform: ConfigDict) -> ResizeRule:
    sides = transform['scale']
    side = sides if isinstance(sides, int) else min(sides)
    return ResizeRule(shortest_edge=side, max_size=transform['max_size'])


def read_padding_rule(settings: ConfigDict, semantic: bool) -> PaddingRule:
    """Read the padding off the settings of the data preprocessor."""
    if not semantic:
        return PaddingRule(
            settings.get('pad_size_divisor', 1), value=float(settings.get('pad_value', 0))
        )
    test: dict[str, Any] = settings.get('test_cfg') or {}
    size = test.get('size')
    value = float(settings.get('pad_val', 0))
    return PaddingRule(
        test.get('size_divisor') or 1, tuple(size) if size else None, value, joint=False
    )


def read_thresholds(trained: TrainedModel) -> Thresholds:
    """Return the settings of post-processing."""
    if is_semantic(trained):
        return Thresholds(
            align_corners=trained.config.model.decode_head.get('align_corners', False)
        )
    settings = trained.config.model.test_cfg
    return Thresholds(
        settings.object_mask_thr,
        settings.iou_thr,
        mean_boxes=settings.get('mean_boxes', False),
        agreement_scores=settings.get('agreement_scores', False),
        nms_iou=settings.get('nms_iou'),
    )


def read_ranking(trained: TrainedModel) -> Ranking:
    """Return how pairs of query and class are ranked; semantic maps need no pairs."""
    settings = trained.config.model.test_cfg
    if is_semantic(trained):
        return Ranking(0, False, settings.get('temperature', TEMPERATURE), None)
    return Ranking(
        settings.max_per_image,
        settings.rank_things_alone,
        settings.temperature,
        settings.get('mask_window'),
    )


def read_window(trained: TrainedModel) -> Window | None:
    """Return the windows of a semantic model that is tested in mode ``slide``."""
    settings = trained.config.model.test_cfg
    if settings.get('mode') != 'slide':
        return None
    return Window(tuple(settings.crop_size), tuple(settings.stride))
