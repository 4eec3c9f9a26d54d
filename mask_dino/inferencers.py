"""Files and arrays for the inferencers of MMDetection and MMSegmentation.

Their own code skips files with an upper-case suffix, lets two images of one name write one file, and fails for grey
arrays. ``compat`` puts what is here into their classes.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.fileio import get_file_backend, isdir, join_path, list_dir_or_file
from mmengine.infer import BaseInferencer
from mmengine.structures import BaseDataElement

from .messages import is_url, plural

FOLDER_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

Image: TypeAlias = str | np.ndarray
Draw = Callable[..., list[np.ndarray] | None]
Describe = Callable[..., dict]


class FileNames:
    """Chooses one file name for each image, so that no result overwrites another."""

    def __init__(self) -> None:
        self.owners: dict[tuple[str, str], str] = {}

    def choose(self, folder: str, path: str) -> str:
        """Return a name without suffix for the results of an image in ``folder``, the same at every call.

        It is the image's own name. If another image has it, names of the image's folders come before it.
        """
        for name in _possible_names(path):
            if self.owners.setdefault((folder, name), path) == path:
                break
        return name


FILE_NAMES: 'WeakKeyDictionary[BaseInferencer, FileNames]' = WeakKeyDictionary()


def inputs_to_list(self: BaseInferencer, inputs: Any) -> list[Image]:
    """Return the images of an inferencer's inputs: the method that both inferencers have for this."""
    return list_images(inputs)


def list_images(inputs: Any) -> list[Image]:
    """Return the images of an inferencer's inputs: arrays (H, W, 3), paths, and for a folder the paths inside.

    Args:
        inputs: A path, a folder, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a list of these.

    Raises:
        FileNotFoundError: If a folder has no image.
        TypeError: If an image is neither a path nor an array.
        ValueError: If an array has another shape, or other values than from 0 to 255.
    """
    items = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    images: list[Any] = []
    for item in items:
        if isinstance(item, np.ndarray):
            images.append(to_three_channels(item))
        elif isinstance(item, (str, Path)):
            images.extend(_list_paths(str(item)))
        elif isinstance(item, dict):  # what the frameworks themselves make of an image
            images.append(item)
        else:
            raise TypeError(
                f'an image is a path or an array of numpy, not {type(item).__name__}; a tensor (3, H, W) becomes one '
                'by tensor.permute(1, 2, 0).numpy()'
            )
    return images


def to_three_channels(image: np.ndarray) -> np.ndarray:
    """Return an array (H, W, 3) as it is, repeat one channel three times, and drop transparency.

    Raises:
        ValueError: If the shape is none of (H, W), (H, W, 1), (H, W, 3) and (H, W, 4), the image is empty, or its
            values are not from 0 to 255.
    """
    channels = image[..., None] if image.ndim == 2 else image
    is_image = channels.ndim == 3 and channels.shape[2] in (1, 3, 4)
    if not is_image or not channels.size:
        raise ValueError(
            f'an image is an array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with pixels, not {image.shape}; '
            'several images are a list of arrays'
        )
    _check_values(channels)
    if channels.shape[2] == 1:
        return np.repeat(channels, 3, axis=2)
    return channels[..., :3]


def _check_values(image: np.ndarray) -> None:
    """Refuse values outside of the range of training: the results would be poor, without a message.

    Raises:
        ValueError: If the values are no numbers from 0 to 255, or at most 1 in floating point.
    """
    if image.dtype == np.uint8:
        return
    smallest, largest = image.min(), image.max()
    is_share = image.dtype.kind == 'f' and 0 < largest <= 1
    if image.dtype.kind not in 'iuf' or is_share or not 0 <= smallest <= largest <= 255:
        raise ValueError(
            f'an image has values from 0 to 255, and this array of {image.dtype} has values from {smallest} to '
            f'{largest}: scale them, and convert the array to uint8'
        )


def draw_under_unique_names(draw: Draw) -> Draw:
    """Let ``visualize`` of an inferencer write one file for each image, also where two images have one name."""

    @wraps(draw)
    def visualize(
        self: BaseInferencer,
        inputs: Sequence[Image],
        preds: Sequence[BaseDataElement],
        *args: Any,
        img_out_dir: str = '',
        **kwargs: Any,
    ) -> list[np.ndarray] | None:
        pictures: list[np.ndarray] = []
        for image, prediction in zip(inputs, preds, strict=True):
            with _unique_folder(self, image, img_out_dir) as folder:
                drawn = draw(self, [image], [prediction], *args, img_out_dir=folder, **kwargs)
            pictures += drawn or []
        return pictures or None

    return visualize


def describe_under_unique_names(describe: Describe) -> Describe:
    """Let ``pred2dict`` of MMDetection's inferencer write one file for each image, arrays included."""

    @wraps(describe)
    def pred2dict(
        self: BaseInferencer, data_sample: BaseDataElement, pred_out_dir: str = ''
    ) -> dict:
        if not pred_out_dir:
            return describe(self, data_sample, pred_out_dir)
        path = data_sample.get('img_path')
        if path is None:  # an array
            name = str(self.num_predicted_imgs)
            self.num_predicted_imgs += 1
        else:
            name = FILE_NAMES.setdefault(self, FileNames()).choose(pred_out_dir, path)
        data_sample.set_metainfo(dict(img_path=f'{name}.jpg'))
        try:
            return describe(self, data_sample, pred_out_dir)
        finally:
            data_sample.set_metainfo(dict(img_path=path))

    return pred2dict


def _list_paths(path: str) -> list[str]:
    """Return the images of a folder by name, or the path itself if it is not a folder."""
    # Not every backend of mmengine has folders; HTTP has none.
    if not (hasattr(get_file_backend(path), 'isdir') and isdir(path)):
        return [path]
    names = sorted(list_dir_or_file(path, list_dir=False))
    images = [name for name in names if name.lower().endswith(FOLDER_SUFFIXES)]
    if not images:
        raise FileNotFoundError(
            f'{path}: none of its {plural(len(names), "file")} is an image; names of images end with '
            f'{", ".join(FOLDER_SUFFIXES)}, in any case'
        )
    return [join_path(path, name) for name in images]


def _possible_names(path: str) -> Iterator[str]:
    """Yield names for the results of an image: its own, with the folder before it, with two folders and so on."""
    whole = path if is_url(path) else os.path.abspath(path)
    stem = os.path.splitext(whole)[0]
    parts = [part for part in re.split(r'[/\\:]+', stem) if part]
    for first in reversed(range(len(parts))):
        yield '_'.join(parts[first:])
    longest = '_'.join(parts)
    for number in count(2):
        yield f'{longest}_{number}'


@contextmanager
def _unique_folder(inferencer: BaseInferencer, image: Image, folder: str) -> Iterator[str]:
    """Yield the folder to draw an image in. Afterwards the picture has the unique name of the image."""
    if not folder or isinstance(image, np.ndarray):
        yield folder
        return
    file_name = os.path.basename(image)
    own_name, _ = os.path.splitext(file_name)
    file_names = FILE_NAMES.setdefault(inferencer, FileNames())
    name = file_names.choose(folder, str(image))
    if name == own_name:
        yield folder
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        yield draft
        pictures = [path for path in Path(draft).rglob('*') if path.is_file()]
        for picture in pictures:
            own_place = Path(folder, picture.relative_to(draft))
            target = own_place.with_name(f'{name}{picture.suffix}')
            target.parent.mkdir(exist_ok=True)
            picture.replace(target)
