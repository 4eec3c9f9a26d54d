import pytest
import torch
from helpers.tiny import NUM_CLASSES, build, random_targets
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from mask_dino.det.detector import to_targets


def sample(height: int, width: int, scale: int = 1, objects: int = 3) -> DetDataSample:
    target = random_targets(objects, torch.Generator().manual_seed(0), (height, width))
    size = torch.tensor([width, height, width, height])
    center, extent = target.boxes[:, :2], target.boxes[:, 2:]
    truth = InstanceData(
        labels=target.labels,
        bboxes=torch.cat((center - extent / 2, center + extent / 2), 1) * size,
        masks=BitmapMasks(target.masks.numpy().astype('uint8'), height, width),
    )
    meta = dict(
        img_shape=(height, width),
        ori_shape=(height * scale, width * scale),
        scale_factor=(1 / scale,) * 2,
    )
    return DetDataSample(gt_instances=truth, metainfo=meta | dict(img_path='an/image.jpg'))


def batch(
    model: torch.nn.Module, *sizes: tuple[int, int], training: bool = False, **kwargs: int
) -> dict:
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, *size)).to(torch.uint8) for size in sizes]
    return model.data_preprocessor(
        dict(inputs=images, data_samples=[sample(*size, **kwargs) for size in sizes]), training
    )


@pytest.fixture
def model():
    return build().eval()


def test_results_are_mmdets_own_at_the_original_size(model):
    [result] = model.test_step(
        dict(inputs=[torch.zeros(3, 50, 70)], data_samples=[sample(50, 70, scale=2)])
    )
    found = result.pred_instances
    assert len(found) == 100
    assert found.masks.shape == (100, 100, 140)
    assert found.masks.dtype == torch.bool
    assert found.bboxes.shape == (100, 4)
    assert (found.scores.diff() <= 0).all()
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1
    assert 0 <= found.labels.min() <= found.labels.max() < NUM_CLASSES


def test_channels_are_last_in_memory_only_where_nothing_is_trained(model):
    images = torch.rand(1, 3, 64, 96)
    trained = model.extract_feat(images)
    with torch.no_grad():
        feats = model.extract_feat(images)
    for with_gradients, without in zip(trained, feats, strict=True):
        assert with_gradients.is_contiguous()
        assert without.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(without, with_gradients)


def test_without_rescale_results_have_the_size_of_the_input(model):
    data = batch(model, (50, 70), scale=2)
    with torch.no_grad():
        [result] = model.predict(data['inputs'], data['data_samples'], rescale=False)
    assert result.pred_instances.masks.shape[1:] == (50, 70)


def test_a_batch_of_two_sizes_is_as_each_image_padded_alone(model):
    data = batch(model, (64, 64), (50, 90))
    with torch.no_grad():
        together = model(**data, mode='tensor')
        for i in range(2):
            alone = model(data['inputs'][i : i + 1], [data['data_samples'][i]], mode='tensor')
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, atol=1e-4, rtol=1e-4)


def test_targets_are_fractions_of_the_padded_input(model):
    data = batch(model, (64, 64), (50, 90), training=True)
    size = data['inputs'].shape[-2:]
    assert tuple(size) == (64, 96)
    for truth in data['data_samples']:
        target = to_targets(truth, size, model.panoptic_head)
        assert target.masks.shape[1:] == size
        assert target.masks.dtype == torch.bool
        for box, mask in zip(target.boxes, target.masks, strict=True):
            ys, xs = mask.nonzero().unbind(1)
            centre = torch.stack(((xs + 0.5).mean() / size[1], (ys + 0.5).mean() / size[0]))
            torch.testing.assert_close(box[:2], centre, atol=0.02, rtol=0)


def test_training_goes_through_the_detector(model):
    model.train()
    losses = model(**batch(model, (64, 64), (50, 90), training=True), mode='loss')
    total, logged = model.parse_losses(losses)
    assert total.isfinite()
    assert {'loss_cls', 'd0.loss_mask', 'enc_loss_dice', 'd1.dn_loss_bbox'} <= set(logged)


def test_a_sample_without_masks_is_named(model):
    without = sample(64, 64)
    del without.gt_instances.masks
    with pytest.raises(ValueError, match=r'an/image\.jpg has no gt_masks.*loss_mask=None'):
        to_targets(without, torch.Size((64, 64)), model.panoptic_head)
    boxes_alone = build(
        queries=dict(boxes_from_masks=False), criterion=dict(loss_mask=None, loss_dice=None)
    )
    assert to_targets(without, torch.Size((64, 64)), boxes_alone.panoptic_head).masks.shape == (
        3,
        0,
        0,
    )


@pytest.mark.parametrize('field', ['bboxes', 'labels', 'masks'])
def test_transforms_that_lose_masks_or_boxes_are_named(model, field):
    truth = sample(64, 64)
    instances = truth.gt_instances
    # set_field skips the check that InstanceData makes of the lengths.
    instances.set_field(instances[field][:1], field)
    with pytest.raises(
        ValueError,
        match=r'an/image\.jpg has \d boxes, \d labels and \d masks.*Mosaic.*CachedMosaic',
    ):
        to_targets(truth, torch.Size((64, 64)), model.panoptic_head)


CONVERSIONS = {
    'half': lambda model: model.half(),
    'bfloat16': lambda model: model.bfloat16(),
    'double': lambda model: model.double(),
    'to': lambda model: model.to(torch.float16),
    'to device and dtype': lambda model: model.to('cpu', torch.bfloat16),
}


@pytest.mark.parametrize('name', CONVERSIONS)
def test_another_precision_is_refused_with_the_way_to_get_it(model, name):
    before = {key: value.dtype for key, value in model.state_dict().items()}
    with pytest.raises(TypeError, match=r'MaskDINO stays in float32.*autocast.*--amp'):
        CONVERSIONS[name](model)
    assert before == {key: value.dtype for key, value in model.state_dict().items()}
    model.float().to('cpu').to('meta')


def test_autocast_is_a_way_to_get_it(model):
    data = dict(inputs=[torch.zeros(3, 50, 70)], data_samples=[sample(50, 70)])
    with torch.autocast('cpu', torch.bfloat16):
        [result] = model.test_step(data)
    assert result.pred_instances.scores.isfinite().all()


def place_objects(truth: DetDataSample, *boxes: tuple[int, int, int, int]) -> DetDataSample:
    """Replace the objects of a sample by rectangles (x1, y1, x2, y2) in pixels."""
    height, width = truth.img_shape
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    truth.gt_instances = InstanceData(
        labels=torch.arange(len(boxes)) % NUM_CLASSES,
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        masks=BitmapMasks(masks.numpy(), height, width),
    )
    return truth


@pytest.mark.parametrize(
    'boxes',
    [[(), ()], [((3, 4, 4, 5),), ()], [((0, 0, 1, 1), (69, 49, 70, 50)), ((0, 0, 96, 33),)]],
    ids=['no objects', 'one pixel and none', 'corners and a whole image'],
)
def test_images_without_objects_of_one_pixel_and_of_different_sizes_train(model, boxes):
    torch.manual_seed(0)
    sizes = [(50, 70), (33, 96)]
    samples = [
        place_objects(sample(*size), *objects) for size, objects in zip(sizes, boxes, strict=True)
    ]
    images = [torch.randint(0, 256, (3, *size)).to(torch.uint8) for size in sizes]
    model.train()
    losses = model(
        **model.data_preprocessor(dict(inputs=images, data_samples=samples), True), mode='loss'
    )
    total, logged = model.parse_losses(losses)
    total.backward()
    assert total.isfinite() and {'loss_mask', 'd0.dn_loss_dice', 'enc_loss_iou'} <= set(logged)
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in model.parameters()
        if p.requires_grad
    )
