"""What happens inside a model: masks, boxes and sampled points of its queries, layer by layer."""

from .drawing import draw_layers
from .images import InspectionError
from .networks import load_network
from .page import write_layers_page
from .truth import Truth
from .views import LayerView, inspect_layers

__all__ = [
    'InspectionError',
    'LayerView',
    'Truth',
    'draw_layers',
    'inspect_layers',
    'load_network',
    'write_layers_page',
]
