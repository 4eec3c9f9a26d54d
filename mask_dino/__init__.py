"""Mask DINO for OpenMMLab: one network for detection and every kind of segmentation.

Importing this package loads nothing heavy. A config names the shell that it needs:
`mask_dino.det` under MMDetection, `mask_dino.seg` under MMSegmentation.
"""

__version__ = '0.2.0'
