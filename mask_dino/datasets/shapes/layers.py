"""What a picture is made of."""

from typing import NamedTuple

from mask_dino.datasets.shapes.forms import Form


class Layer(NamedTuple):
    """Stuff (no forms), one thing (one form) or a crowd (many forms of one class)."""

    label: int  # index into CLASSES
    forms: tuple[Form, ...] = ()
