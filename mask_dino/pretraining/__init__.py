"""Classification first: a backbone learns to name the objects of a data set before the detector is trained on it.

Published detectors start from a backbone that was trained on ImageNet. Where there is no such backbone,
this package trains the backbone of a config to classify crops of the objects in the config's training data.
"""

from . import classifier, crops

# Imported because importing it registers something.
__all__ = ['classifier', 'crops']
