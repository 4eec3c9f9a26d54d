"""A picture of layers: one row for each query, one column for each layer (supplement of the paper, figure 1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .networks import ENCODER
from .truth import Truth
from .views import LayerView, compare_with_truth, count_levels, list_points, name_queries

LEVEL_COLOURS = ((86, 180, 233), (240, 228, 66), (255, 255, 255), (213, 120, 255), (255, 160, 60))
"""RGB of the points of each level, from high to low resolution; more levels begin again."""
MASK_COLOUR = (214, 39, 40)
BOX_COLOUR = (60, 255, 90)
TRUTH_COLOUR = (60, 200, 90)
INK, PAPER = (25, 25, 30), (255, 255, 255)

MASK_OPACITY = 0.45
SHARPNESS = 2
"""Tiles are drawn larger by this factor, and reduced: Pillow does not smooth the edge of a circle."""
LARGEST_TILE_POINT = 0.021
"""Radius of the point of the highest weight in a tile, as a share of the tile's longer side."""


class Row(NamedTuple):
    """One query of one model."""

    title: str
    views: Sequence[LayerView]
    place: int  # of the query in the views
    object: int  # number of its annotated object, -1 without one


def draw_layers(
    image: np.ndarray,
    views: Sequence[LayerView],
    classes: Sequence[str],
    *,
    truth: Truth | None = None,
    beside: Sequence[LayerView] = (),
    names: tuple[str, str] = ('Mask DINO', 'Mask2Former'),
    tile: int = 240,
) -> np.ndarray:
    """Draw the mask, the box and the sampled points of every query after every layer.

    The area of a point is proportional to its attention weight, and its colour tells the level.

    Args:
        image: (H, W, 3) uint8 RGB.
        views: Of :func:`~mask_dino.inspect.inspect_layers`.
        classes: Names of the classes.
        truth: The annotated objects that the queries were assigned to; they are drawn in the first column.
        beside: Views of another model for the same image. Below each object is a row of this model.
        names: Of the two models.
        tile: Longer side of the picture of one layer, in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    rows = arrange_rows(views, beside, classes, names, truth)
    layers = sorted({view.layer for row in rows for view in row.views})
    sheet = _Sheet(image, tile, num_columns=len(layers) + (truth is not None), num_rows=len(rows))
    first = 0
    if truth is not None:
        first = 1
        sheet.write_heading(0, 'ground truth')
    for column, layer in enumerate(layers, first):
        sheet.write_heading(column, _describe_layer(layer))
    for number, row in enumerate(rows):
        sheet.write_title(number, row.title)
        if truth is not None and row.object >= 0:
            sheet.paste(number, 0, draw_truth(image, truth, row.object, tile), '')
        for view in row.views:
            column = first + layers.index(view.layer)
            picture = draw_query(image, view, row.place, tile)
            sheet.paste(number, column, picture, describe_query(view, row.place, truth))
    sheet.write_legend(count_levels(views))
    return np.asarray(sheet.picture)


def arrange_rows(
    views: Sequence[LayerView],
    beside: Sequence[LayerView],
    classes: Sequence[str],
    names: tuple[str, str],
    truth: Truth | None,
) -> list[Row]:
    """Return the rows of a picture: by object, first the one model, then the other."""
    rows = []
    for model, name in ((views, names[0]), (beside, names[1])):
        if not model:
            continue
        last = model[-1]
        prefix = f'{name}: ' if beside else ''
        for place, title in enumerate(name_queries(last, classes, truth)):
            rows.append(Row(prefix + title, model, place, object=int(last.objects[place])))
    # The sort keeps the order of the models. Without objects, the rows of a model stay together.
    return sorted(rows, key=lambda row: row.object)


def draw_query(image: np.ndarray, view: LayerView, index: int, tile: int) -> Image.Image:
    """Return the picture of one query after one layer, of an image (H, W, 3); its longer side has ``tile`` pixels."""
    picture, scale = _enlarge(image, tile)
    picture = _tint(picture, view.masks[index], MASK_COLOUR)
    pen = ImageDraw.Draw(picture)
    x1, y1, x2, y2 = (view.boxes[index] * scale).tolist()
    thickness = max(2, SHARPNESS * tile // 120)
    if x2 > x1 and y2 > y1:
        pen.rectangle((x1, y1, x2, y2), outline=BOX_COLOUR, width=thickness)
    _draw_points(pen, view, index, scale, LARGEST_TILE_POINT * tile * SHARPNESS)
    return _reduce(picture)


def _draw_points(
    pen: ImageDraw.ImageDraw, view: LayerView, index: int, scale: float, largest: float
) -> None:
    """Draw the points of a query, the largest first, so that none is hidden by a larger one."""
    for point in list_points(view, index, largest):
        x = point.x * scale
        y = point.y * scale
        radius = max(point.radius, SHARPNESS * 0.75)
        colour = LEVEL_COLOURS[point.level % len(LEVEL_COLOURS)]
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=colour, outline=INK, width=1)


def draw_truth(image: np.ndarray, truth: Truth, index: int, tile: int) -> Image.Image:
    """Return the picture of one annotated object of an image (H, W, 3); see :func:`draw_query`."""
    picture, _ = _enlarge(image, tile)
    return _reduce(_tint(picture, truth.masks[index], TRUTH_COLOUR))


def describe_query(view: LayerView, index: int, truth: Truth | None) -> str:
    """Return the figures under a picture: the score, and the overlap with the annotated object."""
    text = f'score {view.scores[index]:.2f}'
    overlap = compare_with_truth(view, index, truth)
    if overlap is None:
        return text
    mask, box = overlap
    return f'{text}   IoU mask {mask:.2f}, box {box:.2f}'


def _describe_layer(layer: int) -> str:
    if layer == ENCODER:
        return 'encoder proposal'
    return 'layer 0 (before the first)' if layer == 0 else f'layer {layer}'


def _enlarge(image: np.ndarray, tile: int) -> tuple[Image.Image, float]:
    """Return an image that is larger than its tile, and the factor by which it is enlarged."""
    picture = Image.fromarray(image)
    scale = SHARPNESS * tile / max(picture.size)
    width = max(1, round(picture.width * scale))
    height = max(1, round(picture.height * scale))
    return picture.resize((width, height), Image.Resampling.BICUBIC), scale


def _tint(picture: Image.Image, mask: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    """Return the picture with the pixels of a mask of any size tinted."""
    shape = Image.fromarray(mask.astype(np.uint8) * round(255 * MASK_OPACITY))
    shape = shape.resize(picture.size, Image.Resampling.NEAREST)
    picture.paste(Image.new('RGB', picture.size, colour), mask=shape)
    return picture


def _reduce(picture: Image.Image) -> Image.Image:
    size = (max(1, picture.width // SHARPNESS), max(1, picture.height // SHARPNESS))
    return picture.resize(size, Image.Resampling.BOX)


class _Sheet:
    """A grid of pictures with words around them."""

    def __init__(self, image: np.ndarray, tile: int, num_columns: int, num_rows: int) -> None:
        height, width = image.shape[:2]
        self.width = max(1, round(tile * width / max(height, width)))
        self.height = max(1, round(tile * height / max(height, width)))
        self.size = max(12, tile // 17)
        self.font = ImageFont.load_default(size=self.size)
        self.line = self.size * 3 // 2
        self.gap = max(4, tile // 40)
        # A narrow picture must leave room for the words below it.
        self.column = max(self.width, 15 * self.size) + self.gap
        self.row = self.height + 2 * self.line + self.gap
        size = (
            num_columns * self.column + self.gap,
            2 * self.line + num_rows * self.row + self.line // 2,
        )
        self.picture = Image.new('RGB', size, PAPER)
        self.pen = ImageDraw.Draw(self.picture)

    def write_heading(self, column: int, text: str) -> None:
        """Write the name of a column."""
        self.write(self.gap + column * self.column, self.line // 4, text)

    def write_title(self, row: int, text: str) -> None:
        """Write the name of a row above its pictures."""
        self.write(self.gap, self.top(row) - self.line, text)

    def paste(self, row: int, column: int, picture: Image.Image, text: str) -> None:
        """Insert a picture, with words below it."""
        x, y = self.gap + column * self.column, self.top(row)
        self.picture.paste(picture, (x, y))
        self.write(x, y + self.height + self.line // 8, text)

    def top(self, row: int) -> int:
        """Return the y of the pictures of a row."""
        return 2 * self.line + self.line // 4 + row * self.row

    def write_legend(self, num_levels: int) -> None:
        """Explain the colours, at the bottom."""
        x, y = self.gap, self.picture.height - self.line
        entries = [(MASK_COLOUR, 'mask'), (BOX_COLOUR, 'box')]
        for level in range(num_levels):
            colour = LEVEL_COLOURS[level % len(LEVEL_COLOURS)]
            entries.append((colour, f'points of level {level}'))
        size = self.size
        for colour, name in entries:
            swatch = (x, y, x + size, y + size)
            self.pen.rectangle(swatch, fill=colour, outline=INK)
            self.write(x + size * 3 // 2, y - size // 6, name)
            length = round(self.font.getlength(name))
            x += length + size * 3

    def write(self, x: int, y: int, text: str) -> None:
        """Write one line."""
        self.pen.text((x, y), text, fill=INK, font=self.font)
