"""Pictures of ground truth and results whose words can be read, whatever the size of the image."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.structures import BaseDataElement
from PIL import Image, ImageDraw, ImageFont

from .truth import Truth

SMALLEST, LARGEST = 480, 1200
"""Longer side of a picture in pixels: smaller images are enlarged, larger ones reduced."""
OPACITY = 0.5
INK, PAPER = (25, 25, 30), (255, 255, 255)

Palette = Sequence[tuple[int, int, int]]


class Segment(NamedTuple):
    """One object or region to draw."""

    label: int
    text: str
    mask: np.ndarray  # (H, W) bool
    box: np.ndarray | None = None  # (4,) x1, y1, x2, y2 in pixels


def list_truth(truth: Truth, classes: Sequence[str], *, boxes: bool = False) -> list[Segment]:
    """Return the annotated objects of an image."""
    segments = []
    for label, box, mask in zip(*truth, strict=True):
        segments.append(Segment(int(label), classes[label], mask, box if boxes else None))
    return segments


def list_instances(
    sample: BaseDataElement, classes: Sequence[str], score_thr: float
) -> list[Segment]:
    """Return the instances of a result with at least a score, the best last."""
    instances = sample.pred_instances.cpu().numpy()
    segments = []
    for number in instances.scores.argsort():
        score = instances.scores[number]
        if score < score_thr:
            continue
        label = int(instances.labels[number])
        text = f'{classes[label]} {score:.2f}'
        mask = instances.masks[number].astype(bool)
        box = instances.bboxes[number]
        segments.append(Segment(label, text, mask, box))
    return segments


def list_panoptic(sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
    """Return the segments of the panoptic map of a result."""
    pixels = sample.pred_panoptic_seg.sem_seg[0].cpu().numpy()
    segments = []
    for number in np.unique(pixels):
        label = int(number % INSTANCE_OFFSET)
        if label < len(classes):
            name = classes[label]
            mask = pixels == number
            segments.append(Segment(label, name, mask))
    return segments


def list_semantic(sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
    """Return one segment for each class of the semantic map of a result."""
    [pixels] = [value[0].cpu().numpy() for value in sample.pred_sem_seg.values()]
    labels = [int(label) for label in np.unique(pixels) if label < len(classes)]
    return [Segment(label, classes[label], pixels == label) for label in labels]


def choose_side(shape: Sequence[int]) -> int:
    """Return the longer side of the pictures of an image (H, W, ...)."""
    return int(np.clip(max(shape[:2]), SMALLEST, LARGEST))


def draw_segments(
    image: np.ndarray, segments: Sequence[Segment], palette: Palette, side: int
) -> np.ndarray:
    """Return an image (H, W, 3) uint8 RGB with tinted segments, boxes and names, its longer side ``side`` pixels."""
    picture = resize_to_side(image, side)
    for segment in segments:
        _tint(picture, segment.mask, palette[segment.label])
    canvas = Image.fromarray(picture)
    writer = _Writer(canvas)
    scale = side / max(image.shape[:2])
    for segment in segments:
        if segment.box is not None:
            x1, y1, x2, y2 = (segment.box * scale).tolist()
            box = (x1, y1, max(x1, x2), max(y1, y2))
            writer.pen.rectangle(box, outline=palette[segment.label], width=max(2, side // 250))
    for segment in segments:
        x, y = _find_anchor(segment)
        writer.write(segment.text, x * scale, y * scale, palette[segment.label])
    return np.asarray(canvas)


def resize_to_side(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image (H, W, 3) enlarged or reduced, so that its longer side has ``side`` pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized: np.ndarray = cv2.resize(image, size, interpolation=method)
    return resized


def choose_font(side: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font that can be read in a picture of a size."""
    return ImageFont.load_default(size=max(15, side // 36))


def _tint(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Tint the pixels of a mask of any size, and draw its outline, in place."""
    height, width = picture.shape[:2]
    pixels = mask.astype(np.uint8)
    large = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST)
    inside = large > 0
    tint = np.array(colour) * OPACITY
    blended = picture[inside] * (1 - OPACITY) + tint
    picture[inside] = blended.astype(np.uint8)
    outlines, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, max(width, height) // 300)
    cv2.drawContours(picture, outlines, -1, colour, thickness)


class _Writer:
    """Writes names into a picture, where no other name is."""

    def __init__(self, canvas: Image.Image) -> None:
        self.width, self.height = canvas.size
        self.pen = ImageDraw.Draw(canvas)
        self.font = choose_font(max(canvas.size))
        self.grounds: list[tuple[float, float, float, float]] = []

    def write(self, text: str, x: float, y: float, colour: tuple[int, int, int]) -> None:
        """Write a name as near to a point as there is room, on the colour of its class."""
        _, _, width, height = self.pen.textbbox((0, 0), text, font=self.font)
        ground = self.find_room(x, y, width + 4, height + 4)
        self.grounds.append(ground)
        self.pen.rectangle(ground, fill=colour)
        red, green, blue = colour
        brightness = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = INK if brightness > 128 else PAPER
        start = (ground[0] + 2, ground[1] + 1)
        self.pen.text(start, text, fill=ink, font=self.font)

    def find_room(
        self, x: float, y: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Return x1, y1, x2, y2 of a free place of a size: at the point or below it, inside of the picture."""
        left = max(0.0, min(x, self.width - width))
        highest = max(0.0, min(y, self.height - height))
        top = highest
        while top + height <= self.height:
            place = (left, top, left + width, top + height)
            if not any(_overlap(place, other) for other in self.grounds):
                return place
            top += height / 2
        return (left, highest, left + width, highest + height)


def _find_anchor(segment: Segment) -> tuple[float, float]:
    """Return where the name begins: at the corner of the box, else at the pixel farthest from the edge of the mask."""
    if segment.box is not None:
        return float(segment.box[0]), float(segment.box[1])
    padded = np.pad(segment.mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L1, 3)
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(x) - 1, float(y) - 1


def _overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    """Tell whether two boxes share a pixel; the drawing of a box includes its last row and column."""
    beside = first[2] + 1 < second[0] or second[2] + 1 < first[0]
    above = first[3] + 1 < second[1] or second[3] + 1 < first[1]
    return not (beside or above)


def arrange_pictures(pictures: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return pictures (H, W, 3) of one size side by side, each with a title above it."""
    height, width = pictures[0][1].shape[:2]
    size = max(15, max(height, width) // 36)
    font = ImageFont.load_default(size=size)
    gap = size // 2
    # A narrow picture leaves room for its title.
    longest = max(font.getlength(title) for title, _ in pictures)
    column = max(width, round(longest)) + gap
    canvas = Image.new('RGB', (len(pictures) * column + gap, height + 2 * size + gap), PAPER)
    pen = ImageDraw.Draw(canvas)
    for number, (title, picture) in enumerate(pictures):
        x = gap + number * column
        pen.text((x, size // 4), title, fill=INK, font=font)
        canvas.paste(Image.fromarray(picture), (x, 2 * size))
    return np.asarray(canvas)
