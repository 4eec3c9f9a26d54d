"""Transforms that change boxes and leave masks as they are, and sizes of images that no transform uses."""

from collections.abc import Iterator, Mapping
from typing import Any

from ...image_size import find_unused_image_size
from ...messages import Finding, error

BOXES_ONLY = ('Mosaic', 'MixUp', 'RandomAffine', 'RandomShift')
REMEDY = (
    f'{", ".join(BOXES_ONLY)} change boxes without masks; Resize, RandomFlip, RandomCrop, Expand, MinIoURandomCrop and '
    'CachedMosaic keep masks'
)


def check_pipelines(config: Mapping) -> list[Finding]:
    """Report what is wrong with the pipelines of a config, whatever the data."""
    message = find_unused_image_size(config)
    return check_mask_transforms(config) + ([error(message)] if message else [])


def check_mask_transforms(config: Mapping) -> list[Finding]:
    """Report transforms of the training pipelines that lose the masks that the pipelines load."""
    transforms = list(_find_dicts(config.get('train_dataloader')))
    names = [str(transform.get('type')).rpartition('.')[2] for transform in transforms]
    loads_masks = any(transform.get('with_mask') for transform in transforms)
    if not loads_masks and not any(name.endswith('PanopticAnnotations') for name in names):
        return []
    losing = [name for name in BOXES_ONLY if name in names]
    return [
        error(f'train_dataloader: {name} loses the masks of the objects. {REMEDY}')
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
