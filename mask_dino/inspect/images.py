"""Images on their way into a model, by the test pipeline of its config."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..inferencers import to_three_channels
from ..postprocess import ImageSizes


class InspectionError(ValueError):
    """A model, an image or its annotation cannot be inspected: the message names the remedy."""


class NetworkInput(NamedTuple):
    """One image as a network takes it."""

    images: Tensor  # (1, 3, H, W), normalised and padded, on the device of the model
    sizes: ImageSizes
    sample: BaseDataElement


def read_image(image: str | Path | np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) uint8 BGR, from a file or an array of one, three or four channels in that order.

    Raises:
        InspectionError: If the file cannot be read as an image.
        ValueError: If an array has another shape.
    """
    if isinstance(image, np.ndarray):
        return to_three_channels(image)
    path = Path(image)
    if not path.is_file():
        raise InspectionError(f'image {path} does not exist; relative paths start at {Path.cwd()}')
    try:
        pixels = mmcv.imread(str(path))
    except (OSError, ValueError, cv2.error) as error:
        raise InspectionError(f'{path} cannot be read as an image: {error}') from error
    if pixels is None:
        raise InspectionError(f'{path} cannot be read as an image; give a JPEG, a PNG or another')
    return to_three_channels(pixels)


def prepare_image(config: Config, image: str | Path | np.ndarray) -> dict[str, Any]:
    """Return an image after the test pipeline of a config: ``inputs`` (3, h, w) and ``data_samples``.

    Annotations are not loaded.

    Args:
        image: A file, or an array (H, W, 3) uint8 BGR.

    Raises:
        InspectionError: The config has no test pipeline, or the file cannot be read as an image.
    """
    pixels = read_image(image)
    init_default_scope(config.get('default_scope', 'mmengine'))
    transforms = [TRANSFORMS.build(step) for step in find_pipeline(config)]
    others = [
        step for step in transforms if not isinstance(step, (LoadImageFromFile, LoadAnnotations))
    ]
    size = pixels.shape[:2]
    results = dict(img=pixels, img_shape=size, ori_shape=size, img_id=0, img_path=None)
    if not isinstance(image, np.ndarray):
        results['img_path'] = str(image)
    item: dict[str, Any] = Compose(others)(results)
    return item


def find_pipeline(config: Config) -> list[dict]:
    """Return the test pipeline of a config.

    Raises:
        InspectionError: If the config has none.
    """
    loader = config.get('test_dataloader') or {}
    dataset = loader.get('dataset', {})
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset.dataset  # data sets that wrap another
    if 'pipeline' not in dataset:
        raise InspectionError(
            f'{config.filename} has no test_dataloader.dataset.pipeline, which says how images are prepared'
        )
    pipeline: list[dict] = dataset.pipeline
    return pipeline


def build_dataset(config: Config, ann_file: str | Path | None = None) -> BaseDataset:
    """Return the data set of the test of a config, with annotations.

    Args:
        ann_file: Annotations to read instead of the config's, in the same format.

    Raises:
        InspectionError: If the config has no such data set, or the file does not exist.
    """
    init_default_scope(config.get('default_scope', 'mmengine'))
    find_pipeline(config)
    settings = dict(config.test_dataloader.dataset)
    if ann_file is not None:
        if 'ann_file' not in settings:
            raise InspectionError(
                f'the test data of {config.filename} have no ann_file: they are no COCO file. Choose images by '
                '--index instead'
            )
        if not Path(ann_file).is_file():
            raise InspectionError(f'--ann-file {ann_file} does not exist')
        settings['ann_file'] = str(Path(ann_file).resolve())
    dataset: BaseDataset = DATASETS.build(settings)
    return dataset


def find_annotated(dataset: BaseDataset, image: str | Path) -> dict[str, Any]:
    """Return the item of a data set that has the name of an image file, with the pixels of that file.

    Raises:
        InspectionError: If no image of the data set has the name.
    """
    name = Path(image).name
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if Path(info['img_path']).name == name:
            item: dict[str, Any] = dataset.pipeline(info | dict(img_path=str(image)))
            return item
    raise InspectionError(
        f'none of the {len(dataset)} images of the annotations is named {name}; without --ann-file, queries are '
        'chosen by their score'
    )


def to_network(model: BaseModel, item: dict[str, Any]) -> NetworkInput:
    """Return an item of a pipeline as the network of a model takes it."""
    data = model.data_preprocessor(pseudo_collate([item]), False)
    images = data['inputs']
    [sample] = data['data_samples']
    resized = tuple(sample.img_shape[:2])
    original = tuple(sample.ori_shape[:2])
    return NetworkInput(images, ImageSizes(tuple(images.shape[-2:]), resized, original), sample)
