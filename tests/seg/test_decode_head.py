"""Semantic segmentation under MMSegmentation, with its own segmentor."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mask_dino.seg.decode_head import MaskDINODecodeHead, ScoreTTAModel, to_targets
from mask_dino.structures import QueryPredictions

NUM_CLASSES = 8
IGNORED = 255
FOCAL = dict(
    queries=dict(
        _delete_=True, type='QuerySelection', num_queries=10, anchor_sizes=[0.1, 0.2, 0.4]
    ),
    criterion=dict(
        loss_cls=dict(
            _delete_=True,
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=4.0,
        )
    ),
)


def build(head: dict | None = None, **test_cfg: object) -> torch.nn.Module:
    """Return the small segmentor, the same at every call."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config.fromfile('configs/_base_/models/maskdino_tiny_semantic.py')
    config.model.test_cfg.update(test_cfg)
    config.merge_from_dict(dict(model=dict(decode_head=deepcopy(head or {}))))
    return MODELS.build(config.model).eval()


def batch(*maps: torch.Tensor) -> dict:
    """Return a batch of images with these label maps (H, W)."""
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, *labels.shape)).to(torch.uint8) for labels in maps]
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=labels[None]),
            metainfo=dict(
                img_shape=tuple(labels.shape),
                ori_shape=tuple(labels.shape),
                seg_map_path='a/map.png',
            ),
        )
        for labels in maps
    ]
    return dict(inputs=images, data_samples=samples)


def halves(left: int, right: int, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    labels = torch.full(size, right)
    labels[:, : size[1] // 3] = left
    return labels


def losses(model: torch.nn.Module, *maps: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return model.train()(**model.data_preprocessor(batch(*maps), True), mode='loss')


def predict(
    model: torch.nn.Module, size: tuple[int, int], output: tuple[int, int] | None = None
) -> SegDataSample:
    torch.manual_seed(0)
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=output or size))
    [result] = model.test_step(
        dict(inputs=[torch.randint(0, 256, (3, *size)).to(torch.uint8)], data_samples=[sample])
    )
    return result


def test_targets_are_one_mask_and_box_to_a_class():
    labels = halves(5, 2)
    [sample] = batch(labels)['data_samples']
    target = to_targets(sample, NUM_CLASSES, IGNORED)
    assert target.labels.tolist() == [2, 5]
    assert target.masks.sum((1, 2)).tolist() == [64 * 64, 64 * 32]
    torch.testing.assert_close(
        target.boxes, torch.tensor([[2 / 3, 0.5, 2 / 3, 1], [1 / 6, 0.5, 1 / 3, 1]])
    )
    assert target.known is None


def test_ignored_pixels_are_in_no_mask_and_not_known():
    labels = halves(5, IGNORED)
    [sample] = batch(labels)['data_samples']
    target = to_targets(sample, NUM_CLASSES, IGNORED)
    assert target.labels.tolist() == [5]
    assert target.known.equal(labels != IGNORED)
    assert not target.masks[:, ~target.known].any()


@pytest.mark.parametrize('label', [NUM_CLASSES, 200, -1])
def test_labels_that_no_class_has_are_named(label):
    [sample] = batch(halves(1, label))['data_samples']
    with pytest.raises(ValueError, match=rf'a/map\.png .*{label}.*num_classes=8'):
        to_targets(sample, NUM_CLASSES, IGNORED)


@pytest.mark.parametrize('head', [None, FOCAL], ids=['cross-entropy', 'focal'])
def test_every_parameter_learns_whatever_the_maps(head):
    names = set()
    for maps in (
        (halves(0, 7), halves(3, IGNORED)),
        (halves(4, 4),),
        (halves(IGNORED, IGNORED),) * 2,
    ):
        model = build(head)
        found = losses(model, *maps)
        total, _ = model.parse_losses(found)
        total.backward()
        assert total.isfinite()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        names.add(frozenset(found))
    assert len(names) == 1
    assert {
        'decode.loss_cls',
        'decode.loss_dice',
        'decode.d0.loss_mask',
        'decode.dn_loss_bbox',
    } <= next(iter(names))


def test_an_image_that_is_wholly_ignored_changes_no_mask_loss():
    model = build()
    for name, value in losses(model, halves(IGNORED, IGNORED)).items():
        if 'loss' in name and 'cls' not in name:
            assert value == 0, name


@pytest.mark.parametrize('head', [None, FOCAL], ids=['cross-entropy', 'focal'])
@pytest.mark.parametrize('max_mask_pixels', [1, 20 * 96 * 7, 10**9])
def test_scores_are_those_of_the_plain_computation_whatever_the_budget(head, max_mask_pixels):
    model = build(head, max_mask_pixels=max_mask_pixels)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        logits, _, masks = model(images, mode='tensor')
        found = model.encode_decode(images, [dict(pad_shape=(64, 96), img_shape=(60, 90))] * 2)
    classes = (
        (logits.sigmoid() / 0.06).softmax(-1) if head else logits.softmax(-1)[..., :NUM_CLASSES]
    )
    masks = F.interpolate(masks, (64, 96), mode='bilinear', align_corners=False).sigmoid()
    torch.testing.assert_close(
        found, torch.einsum('bqc,bqhw->bchw', classes, masks), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize('size', [(64, 96), (50, 77), (131, 33)])
@pytest.mark.parametrize('align_corners', [False, True])
def test_results_have_the_size_of_the_original_image(size, align_corners):
    model = build(dict(align_corners=align_corners))
    result = predict(model, size, (100, 120))
    assert result.pred_sem_seg.data.shape == (1, 100, 120)
    assert result.seg_logits.data.shape == (NUM_CLASSES, 100, 120)
    assert model.align_corners == align_corners


def test_one_window_over_all_is_the_whole():
    whole = predict(build(), (64, 96)).seg_logits.data
    slide = predict(
        build(mode='slide', crop_size=(64, 96), stride=(40, 40)), (64, 96)
    ).seg_logits.data
    torch.testing.assert_close(slide, whole)


@pytest.mark.parametrize('crop', [(64, 64), (50, 70), (200, 200)])
def test_windows_of_any_size_are_averaged(crop):
    model = build(mode='slide', crop_size=crop, stride=(30, 30))
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        found = model.slide_inference(images, [dict(img_shape=(90, 120), pad_shape=(96, 128))])
        window = images[..., : crop[0], : crop[1]]
        first = model.encode_decode(window, [dict(img_shape=window.shape[-2:])])
    assert found.shape == (1, NUM_CLASSES, 96, 128)
    # Only the first window sees the corner.
    torch.testing.assert_close(found[..., :20, :20], first[..., :20, :20])


def augmented(image: torch.Tensor) -> dict:
    """Return an image, and its mirror image, as a data loader delivers them."""
    meta = dict(img_shape=image.shape[1:], ori_shape=image.shape[1:], img_path='an/image.jpg')
    metas = (meta | dict(flip=False), meta | dict(flip=True, flip_direction='horizontal'))
    return dict(
        inputs=[[image], [image.flip(2)]],
        data_samples=[[SegDataSample(metainfo=meta)] for meta in metas],
    )


def test_scores_of_augmented_images_are_averaged():
    model, image = build(), torch.randint(0, 256, (3, 64, 96)).to(torch.uint8)
    [result] = ScoreTTAModel(module=model).test_step(augmented(image))
    data = augmented(image)
    single = [
        model.test_step(dict(inputs=inputs, data_samples=samples))[0].seg_logits.data
        for inputs, samples in zip(*data.values(), strict=True)
    ]
    assert not torch.allclose(*single)
    mean = torch.stack(single).mean(0)
    torch.testing.assert_close(result.seg_logits.data, mean)
    assert result.pred_sem_seg.data.equal(mean.argmax(0, keepdim=True))
    assert not result.flip


def test_mmsegs_own_augmentation_works_too():
    image = torch.randint(0, 256, (3, 64, 96)).to(torch.uint8)
    [result] = SegTTAModel(module=build()).test_step(augmented(image))
    assert result.pred_sem_seg.data.shape[-2:] == (64, 96)


def test_a_forward_pass_gives_the_predictions_of_the_queries():
    found = build()(torch.zeros(1, 3, 64, 96), mode='tensor')
    assert isinstance(found, QueryPredictions)
    assert found.logits.shape == (1, 20, NUM_CLASSES + 1)
    assert found.masks.shape == (1, 20, 16, 24)


def test_both_shells_name_their_parameters_alike():
    def names(model: torch.nn.Module, head: str) -> set[str]:
        own = {name for name, _ in model.named_parameters() if name.startswith(f'{head}.')}
        return {name.removeprefix(f'{head}.') for name in own}

    segmentor = names(build(FOCAL), 'decode_head')
    assert segmentor
    parts = dict(
        pixel_decoder=dict(num_levels=3),
        decoder=dict(num_layers=3),
        queries=dict(anchor_sizes=[0.1] * 3),
    )
    assert segmentor == names(tiny.build(**parts), 'panoptic_head')


def test_one_class_is_refused():
    head = Config.fromfile('configs/_base_/models/maskdino_tiny_semantic.py').model.decode_head
    head.pop('type')
    with pytest.raises(ValueError, match='num_classes=1'):
        MaskDINODecodeHead(**ConfigDict(head, num_classes=1))


@pytest.mark.parametrize(('shell', 'missing'), [('det', 'mmseg'), ('seg', 'mask_dino.det')])
def test_a_shell_does_without_the_other(shell, missing):
    code = f"import sys; sys.modules['{missing}'] = None; import mask_dino.{shell}"
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)


def test_another_precision_is_refused_with_the_way_to_get_it():
    model = build()
    for convert in (model.half, model.bfloat16, model.double, lambda: model.to(torch.float16)):
        with pytest.raises(
            TypeError, match=r'MaskDINODecodeHead stays in float32.*autocast.*--amp'
        ):
            convert()
    with torch.autocast('cpu', torch.bfloat16):
        assert predict(build(), (64, 96)).seg_logits.data.isfinite().all()


def test_images_of_different_sizes_and_classes_of_one_pixel_train():
    model = build()
    one_pixel, whole = halves(2, 2, (50, 70)), halves(4, IGNORED, (33, 96))
    one_pixel[7, 9] = 5
    total, _ = model.parse_losses(losses(model, one_pixel, whole))
    total.backward()
    assert total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
