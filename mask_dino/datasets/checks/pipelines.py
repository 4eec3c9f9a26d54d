"""Pipelines of a config: masks that transforms lose, sizes of images that do not work or that differ from training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset

from ...image_size import find_unused_image_size
from ...messages import Finding, error, first_few, is_url, plural, spread_evenly, warning
from .config import leaf_datasets
from .images import header_size

IMAGES = 500
"""Images of a data set, evenly spread, whose sizes are compared."""
MOST_TIMES = 2.5
"""Factor between the sizes of testing and training above which a warning is due; the paper's configs reach 2."""
MIXING = {
    'Mosaic',
    'MixUp',
    'CachedMosaic',
    'CachedMixUp',
    'RandomAffine',
    'RandomCenterCropPad',
    'Albu',
    'TestTimeAug',
}
"""Transforms after which a size is not known."""


class SizeRange(NamedTuple):
    """The smallest and largest sizes that a pipeline makes of images."""

    smallest: np.ndarray  # (N, 2) width, height in pixels
    largest: np.ndarray  # (N, 2)
    crop: float  # largest side of a square of the area of a crop; infinite without a crop

    def input_sides(self) -> np.ndarray:
        """Return the sides (N,) of squares of the area of the largest inputs."""
        sides: np.ndarray = np.minimum(np.sqrt(self.largest.prod(1)), self.crop)
        return sides


def check_narrow_images(
    loader: str, dataset: Any, paths: Sequence[str], sizes: Sequence[Any]
) -> list[Finding]:
    """Report images that get a side of 0 pixels in the pipeline; sizes are width and height, or None."""
    known = [(path, size) for path, size in zip(paths, sizes, strict=True) if size]
    if not known:
        return []
    with np.errstate(all='ignore'):  # a scale of 0
        after = find_sizes(dataset, np.array([size for _, size in known], float))
    if after is None:
        return []
    narrow = [known[index] for index in np.flatnonzero((after.smallest < 1).any(1))]
    if not narrow:
        return []
    listed = first_few((f'{path} ({width} x {height})' for path, (width, height) in narrow), 2)
    message = f'{loader}: {plural(len(narrow), "image")} so narrow that resizing leaves 0 pixels: {listed}. '
    return [error(f'{message}Crop or remove them.')]


def check_train_and_test_sizes(datasets: Mapping[str, Any]) -> list[Finding]:
    """Compare the sizes at which training and testing see images, of data sets by the names of their loaders."""
    ranges = {loader: _sample_range(dataset) for loader, dataset in datasets.items()}
    training = ranges.get('train_dataloader')
    if training is None:
        return []
    findings = []
    for loader, testing in ranges.items():
        if loader == 'train_dataloader' or testing is None:
            continue
        seen = float(training.input_sides().max())
        tested = float(np.median(testing.input_sides()))
        if tested > MOST_TIMES * seen > 0:  # 0 is reported as a narrow image
            findings.append(warning(_describe_sizes(loader, tested, seen)))
    return findings


def _describe_sizes(loader: str, tested: float, seen: float) -> str:
    return (
        f'{loader}: test images are {tested / seen:.1f} times as large as any that training sees: of the area '
        f'of {tested:.0f} x {tested:.0f} pixels after the pipeline, in training of {seen:.0f} x {seen:.0f} at most. '
        'Results will be poor: resize both alike, with image_size of the config, or Resize in both pipelines.'
    )


def _sample_range(dataset: Any) -> SizeRange | None:
    """Return the sizes of some images of a data set after its pipeline; None if they are not known."""
    leaves = list(leaf_datasets(dataset))
    is_mixed = dataset not in leaves and 'pipeline' in getattr(dataset, '__dict__', {})
    if is_mixed or not all(isinstance(leaf, BaseDataset) for leaf in leaves):
        return None
    ranges = []
    for leaf in leaves:
        sizes = list(_read_sizes(leaf))
        after = find_sizes(leaf, np.array(sizes, float)) if sizes else None
        if after is None:
            return None
        ranges.append(after)
    smallest = np.concatenate([part.smallest for part in ranges])
    largest = np.concatenate([part.largest for part in ranges])
    return SizeRange(smallest, largest, max(part.crop for part in ranges))


def _read_sizes(dataset: BaseDataset) -> Iterator[tuple[int, int]]:
    """Yield width and height of some images, from the annotations or the headers of the files."""
    for index in spread_evenly(len(dataset), IMAGES):
        info = dataset.get_data_info(index)
        if 'width' in info and 'height' in info:
            yield info['width'], info['height']
        elif isinstance(info.get('img_path'), str) and not is_url(info['img_path']):
            size = header_size(info['img_path'])
            yield from [size] if size else []


def find_sizes(dataset: BaseDataset, sizes: np.ndarray) -> SizeRange | None:
    """Return what the pipeline of a data set makes of sizes (N, 2), width and height; None if that is not known."""
    after = SizeRange(sizes, sizes, np.inf)
    for transform in dataset.pipeline.transforms:
        name = type(transform).__name__
        if name in MIXING:
            return None
        choices = list(_resized(transform, after.largest)) if 'Resize' in name else []
        if choices:
            after = SizeRange(np.min(choices, 0), np.max(choices, 0), np.inf)
        # A crop size of at most 1 is a share of the image.
        elif name == 'RandomCrop' and max(transform.crop_size) > 1:
            side = float(np.sqrt(np.prod(transform.crop_size)))
            after = after._replace(crop=min(after.crop, side))
    return after


def _resized(transform: Any, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the sizes (N, 2) that the choices of a resizing transform make of sizes (N, 2)."""
    options = vars(transform)
    inner = transform if 'max_size' in options else options.get('resize', transform)
    scales = options.get('scales') or options.get('scale')
    if scales is None:
        factors = options.get('scale_factor')
        yield from [np.floor(sizes * factors + 0.5)] if factors is not None else []
        return
    is_list_of_scales = isinstance(scales, list) and not isinstance(scales[0], int)
    for scale in scales if is_list_of_scales else [scales]:
        for ratio in options.get('ratio_range') or (1.0,):
            yield _rescale(inner, np.multiply(scale, ratio), sizes)


def _rescale(resize: Any, scale: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return sizes (N, 2) after a Resize or ResizeShortestEdge to a scale, as mmcv rounds them."""
    options = vars(resize)
    long_sides, short_sides = sizes.max(1), sizes.min(1)
    if 'max_size' in options:
        factors = np.minimum(
            np.min(scale) / short_sides, (options['max_size'] or np.inf) / long_sides
        )
    elif not options.get('keep_ratio'):
        return np.broadcast_to(np.floor(scale), sizes.shape)
    elif scale.ndim == 0:
        factors = np.full(len(sizes), float(scale))
    else:
        factors = np.minimum(scale.max() / long_sides, scale.min() / short_sides)
    rescaled: np.ndarray = np.floor(sizes * factors[:, None] + 0.5)
    return rescaled


BOXES_ONLY = ('Mosaic', 'MixUp', 'RandomAffine', 'RandomShift')
LOST_MASKS_REMEDY = (
    f'{", ".join(BOXES_ONLY)} change boxes without masks; Resize, RandomFlip, RandomCrop, Expand, MinIoURandomCrop and '
    'CachedMosaic keep masks'
)


def check_pipelines(config: Mapping) -> list[Finding]:
    """Report what is wrong with the pipelines of a config, whatever the data."""
    message = find_unused_image_size(config)
    unused = [error(message)] if message else []
    return check_mask_transforms(config) + check_loading(config) + unused


def check_loading(config: Mapping) -> list[Finding]:
    """Report training pipelines that load no masks for a model with mask losses, or that do not pack their samples."""
    names, loads_masks = _read_training_pipeline(config)
    findings = []
    if names and not any('Pack' in name for name in names):
        message = 'train_dataloader: no transform of the pipeline packs the sample. '
        findings.append(error(f"{message}Write dict(type='PackDetInputs') as the last one."))
    if names and not loads_masks and _has_mask_losses(config):
        message = 'train_dataloader: the pipeline loads no masks, which the mask losses of the model need. '
        remedy = "Write dict(type='LoadAnnotations', with_bbox=True, with_mask=True). For data with boxes only, write "
        remedy += 'model=dict(panoptic_head=dict(criterion=dict(loss_mask=None, loss_dice=None))).'
        findings.append(error(message + remedy))
    return findings


def _has_mask_losses(config: Mapping) -> bool:
    """Tell whether the detector of a config is a Mask DINO with mask losses."""
    head = (config.get('model') or {}).get('panoptic_head') or {}
    criterion = head.get('criterion') or {}
    return criterion.get('loss_mask') is not None


def _read_training_pipeline(config: Mapping) -> tuple[list[str], bool]:
    """Return the names of the transforms of the training data, and whether one of them loads masks."""
    parts = list(_find_dicts(config.get('train_dataloader')))
    pipelines = [part['pipeline'] for part in parts if 'pipeline' in part]
    steps = [step for pipeline in pipelines for step in pipeline or ()]
    names = [
        str(step.get('type')).rpartition('.')[2] for step in steps if isinstance(step, Mapping)
    ]
    loads_masks = any(part.get('with_mask') for part in parts)
    return names, loads_masks or any(name.endswith('PanopticAnnotations') for name in names)


def check_mask_transforms(config: Mapping) -> list[Finding]:
    """Report transforms of the training pipelines that lose the masks that the pipelines load."""
    names, loads_masks = _read_training_pipeline(config)
    if not loads_masks:
        return []
    losing = [name for name in BOXES_ONLY if name in names]
    return [
        error(f'train_dataloader: {name} loses the masks of the objects. {LOST_MASKS_REMEDY}')
        for name in losing
    ]


def _find_dicts(value: Any) -> Iterator[Mapping]:
    """Yield every dictionary in a part of a config."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _find_dicts(item)
