import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData


def test_the_cross_entropy_is_that_of_mmdet():
    torch.manual_seed(0)
    guess = InstanceData(masks=torch.randn(7, 300) * 30)
    truth = InstanceData(masks=torch.rand(4, 300))
    ours = TASK_UTILS.build(dict(type='MaskCrossEntropyCost', weight=5.0))(guess, truth)
    theirs = TASK_UTILS.build(dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True))(
        guess, truth
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
