"""The JSON file of panoptic annotations: from its entries to the segments of every image."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .maps import Segment


class PanopticImage(NamedTuple):
    """An image with its segments; those without annotation, as in test sets, have no map."""

    id: Any
    file_name: str
    size: tuple[int, int]  # height, width in pixels
    map_name: str | None
    segments: list[Segment]
    boxes: list[list[float]]  # x, y, width, height of each segment


def parse_images(content: Mapping[str, Any], classes: Sequence[str]) -> list[PanopticImage]:
    """Return the images of a file, in its order, with labels by the order of the classes."""
    labels = {name: label for label, name in enumerate(classes)}
    categories = {category['id']: labels.get(category['name']) for category in content['categories']}
    annotations = {annotation['image_id']: annotation for annotation in content.get('annotations', ())}
    return [_parse_image(image, annotations.get(image['id']), categories) for image in content['images']]


def _parse_image(image: dict, annotation: dict | None, categories: Mapping[Any, int | None]) -> PanopticImage:
    segments = annotation['segments_info'] if annotation else []
    return PanopticImage(
        image['id'],
        image['file_name'],
        (image['height'], image['width']),
        annotation['file_name'] if annotation else None,
        [Segment(s['id'], categories[s['category_id']], bool(s.get('iscrowd', 0)), s.get('area')) for s in segments],
        [s['bbox'] for s in segments],
    )
