"""A step must not ask the device for numbers: each time, the host would wait for all that it has launched."""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from helpers.tiny import build, random_targets
from mmdet.models.task_modules.assigners import match_cost
from mmdet.models.task_modules.assigners.match_cost import BBoxL1Cost
from mmdet.structures.bbox import bbox_overlaps
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mask_dino.models.matcher import HybridMatcher
from mask_dino.ops.smallest import partition_rows
from mask_dino.ops.sparse_sampling import _SumPoints, sample_sparse

WAITING = {
    '_local_scalar_dense',
    'nonzero',
    'unique_dim',
    '_unique2',
    'masked_select',
    'bincount',
    'equal',
}
TO_HOST = {'cpu', 'numpy', 'tolist'}
FROM_NUMBERS = {'tensor', 'as_tensor', 'new_tensor'}


class Operations(TorchDispatchMode):
    """Counts operations whose outcome the host needs."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.__name__.partition('.')[0]
        by_mask = name in ('index', 'index_put', 'index_put_') and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )
        if name in WAITING or by_mask:
            self.found.append(name)
        return operation(*args, **(kwargs or {}))


class Transfers(TorchFunctionMode):
    """Counts transfers that wait, none of which is one on a CPU: to the host, and of numbers to the device.

    Numbers that become a tensor of the host, and then go to the device with ``non_blocking=True``, do not wait.
    """

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(function, '__name__', '')
        to_device = name == 'new_tensor' or kwargs.get('device') is not None
        if name in TO_HOST or (name in FROM_NUMBERS and to_device):
            self.found.append(name)
        return function(*args, **kwargs)


@contextmanager
def counted():
    """Yield a list of the operations that wait, without those of functions that run on the host anyway.

    These are the matcher after its transfer, the sampling of deformable attention by sparse products, and the choice of
    points by numpy. Nor are those counted that mmdet makes itself: its box costs and its overlaps send a constant to
    the device.
    """
    found = []

    def on_host(method):
        def run(*args, **kwargs):
            before = len(found)
            result = method(*args, **kwargs)
            del found[before:]
            return result

        return run

    with (
        patch.object(HybridMatcher, 'replace_nonfinite', on_host(HybridMatcher.replace_nonfinite)),
        patch.object(HybridMatcher, 'assign', staticmethod(on_host(HybridMatcher.assign))),
        patch('mask_dino.ops.deformable_attention.sample_sparse', on_host(sample_sparse)),
        patch.object(_SumPoints, 'backward', staticmethod(on_host(_SumPoints.backward))),
        patch('mask_dino.ops.points.keeps_map', lambda *args: False),
        patch('mask_dino.ops.smallest.partition_rows', on_host(partition_rows)),
        patch.object(BBoxL1Cost, '__call__', on_host(BBoxL1Cost.__call__)),
        patch('mmdet.models.losses.iou_loss.bbox_overlaps', on_host(bbox_overlaps)),
        patch(f'{match_cost.__name__}.bbox_overlaps', on_host(bbox_overlaps)),
        Operations(found),
        Transfers(found),
    ):
        yield found


def test_operations_that_wait_for_the_device_are_counted():
    x = torch.rand(5)
    with counted() as found:
        x.max().item()
        x[x > 0.5]
        x.nonzero()
        x.cpu()
        if x.sum() > 0:
            x.sum()
        x.new_tensor([1, 2])
        torch.tensor([1, 2], device=x.device)
        torch.tensor([1, 2]).to(x.device, non_blocking=True)
    waits = ['_local_scalar_dense', 'index', 'nonzero', 'cpu', '_local_scalar_dense']
    assert found == [*waits, 'new_tensor', 'tensor']


def test_a_training_step_waits_once(images, generator):
    """For the costs of matching, of all layers and images together."""
    model = build().train()
    targets = [random_targets(n, generator) for n in (3, 4)]
    with counted() as found:
        losses = model.panoptic_head.loss(model.extract_feat(images), targets)
        sum(losses.values()).backward()
    assert found == ['cpu']


def test_prediction_does_not_wait(images):
    model = build().eval()
    with torch.no_grad(), counted() as found:
        model(images, mode='tensor')
    assert found == []
