"""The image size of a config: one call changes it for training and testing.

mmengine evaluates a base config before the config that inherits from it. A new value of the variable ``image_size``
therefore does not reach the pipelines of the base. This module changes them. It imports nothing, so that a config
can import it.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

SIZE_ARGUMENTS = ('scale', 'crop_size', 'size')
# MMSegmentation writes these as (height, width); everything else is (width, height).
HEIGHT_FIRST = ('crop_size', 'size')
PIPELINES = ('pipeline', 'dataloader')

Config = MutableMapping[str, Any]


def set_image_size(config: Config, size: int | tuple[int, int]) -> None:
    """Change the image size of a config in every transform that uses it.

    Write two lines below ``_base_`` in a config of your own::

        from mask_dino.image_size import set_image_size
        set_image_size(_base_, (512, 512))

    Args:
        config: ``_base_`` in a config file, or a whole config.
        size: (width, height) in pixels, or the side of a square. Images are resized to fit into it.

    Raises:
        ValueError: If the config has no ``image_size``, or ``size`` is not positive.
    """
    width, height = (size, size) if isinstance(size, int) else size
    if min(width, height) < 1:
        raise ValueError(f'image_size={size}: width and height must be positive')
    if 'image_size' not in config:
        raise ValueError(
            'set_image_size: the base config has no variable image_size, so its pipelines have no common image size; '
            'write the pipelines of your own data in your config instead'
        )
    old_width, old_height = config['image_size']
    is_mmseg = config.get('default_scope') == 'mmseg'
    for settings, name in _find_sizes(config):
        height_first = is_mmseg and name in HEIGHT_FIRST
        old = (old_height, old_width) if height_first else (old_width, old_height)
        new = (height, width) if height_first else (width, height)
        if tuple(settings[name]) == old:
            settings[name] = new
    config['image_size'] = (width, height)


def find_unused_image_size(config: Mapping[str, Any]) -> str | None:
    """Return a message if ``image_size`` of a config is the size of no transform, else None."""
    if 'image_size' not in config:
        return None
    size = tuple(config['image_size'])
    used = {tuple(settings[name]) for settings, name in _find_sizes(config)}
    if size in used or size[::-1] in used:
        return None
    return (
        f'image_size={size} has no effect: the transforms of the config use {sorted(used)}. Instead, write '
        f'"from mask_dino.image_size import set_image_size" and "set_image_size(_base_, {size})" below _base_'
    )


def _find_sizes(config: Mapping[str, Any]) -> Iterator[tuple[Config, str]]:
    """Yield the settings of transforms and of the preprocessor, and the name of a size in them."""
    for name, value in config.items():
        if name.endswith(PIPELINES):
            yield from _find_sizes_in(value)
    model = config.get('model', {})
    yield from _find_sizes_in(model.get('data_preprocessor', {}))


def _find_sizes_in(value: object) -> Iterator[tuple[Config, str]]:
    if isinstance(value, MutableMapping):
        names = [name for name in SIZE_ARGUMENTS if _is_size(value.get(name))]
        yield from ((value, name) for name in names)
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _find_sizes_in(item)


def _is_size(value: object) -> bool:
    """Tell whether a value is a pair of numbers, and not the side of a square, a factor or a list of sizes."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) for side in value)
    )
