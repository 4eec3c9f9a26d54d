"""Shapes, a small synthetic world in COCO format: its classes, and the options of a data set."""

from dataclasses import dataclass, fields

THINGS = ('ellipse', 'rectangle', 'triangle', 'star', 'ring')
STUFF = ('sky', 'ground', 'water')
CLASSES = THINGS + STUFF
PALETTE = (
    (230, 57, 70),
    (255, 183, 3),
    (6, 167, 125),
    (157, 78, 221),
    (255, 112, 166),
    (142, 202, 230),
    (188, 138, 95),
    (33, 104, 181),
)
VOID = 255  # pixels of no segment, in owner maps and in semantic label maps

MIN_SIZE, MAX_SIZE = 32, 1024
MAX_OBJECTS = 100  # the owner of a pixel is a number of 8 bits, and there is no room for more


@dataclass(frozen=True)
class World:
    """The options of one data set; equal options give byte-identical files.

    Raises:
        ValueError: If an option is out of its range.
    """

    train: int = 1000
    val: int = 100
    size: int = 128
    seed: int = 0
    max_objects: int = 8

    def __post_init__(self) -> None:
        negative = [f.name for f in fields(self) if getattr(self, f.name) < 0]
        if negative:
            raise ValueError(f'{", ".join(negative)}: must not be negative')
        if not self.train + self.val:
            raise ValueError('train, val: both are 0, so there is nothing to make')
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise ValueError(f'size: {self.size} is not within {MIN_SIZE} to {MAX_SIZE} pixels')
        if self.max_objects > MAX_OBJECTS:
            raise ValueError(f'max_objects: {self.max_objects} is more than {MAX_OBJECTS}')
