"""Run an exported Mask DINO with numpy, onnxruntime and Pillow, without torch or any package of OpenMMLab.

``Segmenter('model.onnx')('image.jpg')`` returns a :class:`Result`; ``python -m mask_dino.runtime`` is the command.
"""

from .images import ImageError
from .metadata import ModelFileError, ModelInfo
from .network import Network, OnnxNetwork
from .result import Result
from .segmenter import Segmenter

__all__ = [
    'ImageError',
    'ModelFileError',
    'ModelInfo',
    'Network',
    'OnnxNetwork',
    'Result',
    'Segmenter',
]
