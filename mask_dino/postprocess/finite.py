"""Refuses predictions that are NaN or infinite, for both shells and all metrics."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..messages import PredictionError


def check_finite(image: str, fields: Mapping[str, Tensor]) -> None:
    """Refuse predictions of one image that are NaN or infinite.

    Both shells call it with the output of the network, before it becomes results: behind an argmax or a threshold, NaN
    looks like a class or an empty mask. Hence it protects inference and every metric, including the metrics of
    MMDetection and MMSegmentation. Metrics call it again, since results may come from a file or another model.

    Args:
        fields: Tensors of any shape and type, by their names.

    Raises:
        PredictionError: If a value is NaN or infinite; it names the image and the fields.
    """
    broken = [name for name, values in fields.items() if not _is_finite(values)]
    if broken:
        raise PredictionError(
            f'{image}: the predicted {" and ".join(broken)} are NaN or infinite, so that no result can be trusted. '
            'Training has diverged, or values exceed the range of float16. Test an earlier checkpoint, and train with '
            'a lower learning rate (optim_wrapper.optimizer.lr), with clipped gradients (optim_wrapper.clip_grad), or '
            'with bfloat16 instead of float16.'
        )


def _is_finite(values: Tensor) -> bool:
    if not values.is_floating_point() or not values.numel():
        return True
    # They are NaN if any value is. This takes one pass, and no copy of large masks.
    extremes = torch.stack(values.aminmax())
    return bool(extremes.isfinite().all())
