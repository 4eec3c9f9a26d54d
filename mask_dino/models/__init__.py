"""The network: importing it registers every part with mmdet."""

from .criterion import MaskDINOCriterion
from .decoder import MaskDINODecoder
from .denoising import UnifiedDenoising
from .head import MaskDINOHead
from .matcher import HybridMatcher, MaskCrossEntropyCost
from .pixel_decoder import MaskDINOPixelDecoder
from .queries import LearnedQueries, QuerySelection

__all__ = [
    'HybridMatcher',
    'LearnedQueries',
    'MaskCrossEntropyCost',
    'MaskDINOCriterion',
    'MaskDINODecoder',
    'MaskDINOHead',
    'MaskDINOPixelDecoder',
    'QuerySelection',
    'UnifiedDenoising',
]
