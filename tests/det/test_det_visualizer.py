"""Pictures of panoptic results need no panopticapi, and show each kind of result on its own."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from helpers.panoptic_folder import CLASSES, META
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData

HEIGHT, WIDTH, VOID = 48, 64, len(CLASSES)
IMAGE = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
PALETTE = [(220, 20, 60), (119, 11, 32), (0, 0, 142), (0, 200, 230), (106, 0, 228)]


@pytest.fixture
def visualizer():
    made = VISUALIZERS.build(dict(type='PanopticVisualizer', name=f'test{np.random.random()}'))
    made.dataset_meta = META | dict(palette=PALETTE)
    return made


def sample(panoptic: torch.Tensor) -> DetDataSample:
    mask = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    mask[:, 10:30, 10:40] = True
    found = InstanceData(
        masks=mask,
        bboxes=torch.tensor([[10.0, 10, 40, 30]]),
        labels=torch.tensor([0]),
        scores=torch.tensor([0.9]),
    )
    classes = torch.where(mask, 0, 3)
    return DetDataSample(
        pred_instances=found,
        pred_panoptic_seg=PixelData(sem_seg=panoptic[None]),
        pred_sem_seg=PixelData(sem_seg=classes),
    )


@pytest.fixture
def segments() -> torch.Tensor:
    panoptic = torch.full((HEIGHT, WIDTH), 3)
    panoptic[10:30, 10:40] = 1000
    panoptic[40:] = VOID
    return panoptic


def columns(picture: np.ndarray) -> list[np.ndarray]:
    return np.split(picture, picture.shape[1] // WIDTH, axis=1)


def test_each_kind_of_result_has_its_picture(visualizer, segments):
    visualizer.add_datasample('x', IMAGE, sample(segments), draw_gt=False)
    instances, panoptic, semantic = columns(visualizer.get_image())
    sky = np.array(PALETTE[3]) * 0.8 + 128 * 0.2
    assert (instances[45, 5] == 128).all()
    for picture, row in ((panoptic, 5), (semantic, 45)):
        assert picture[row, 5] == pytest.approx(sky, abs=2)
    assert (panoptic[45, 5] == 128).all(), 'void is not painted'


def test_ground_truth_stands_beside_the_results(visualizer, segments):
    both = sample(segments)
    both.gt_sem_seg = PixelData(sem_seg=torch.full((1, HEIGHT, WIDTH), 255))
    visualizer.add_datasample('x', IMAGE, both)
    assert len(columns(visualizer.get_image())) == 4
    assert (columns(visualizer.get_image())[0] == 128).all()
    visualizer.add_datasample('x', IMAGE, both, draw_pred=False)
    assert len(columns(visualizer.get_image())) == 1


def test_a_map_without_segment_is_drawn_as_the_image(visualizer):
    void = sample(torch.full((HEIGHT, WIDTH), VOID))
    stock = DetLocalVisualizer()
    stock.dataset_meta = visualizer.dataset_meta
    with pytest.raises(ValueError, match='stack'):  # the reason for a visualizer of our own
        stock.add_datasample('x', IMAGE, void)
    visualizer.add_datasample('x', IMAGE, void)
    assert (columns(visualizer.get_image())[1] == IMAGE).all()


def test_weak_instances_are_left_out(visualizer, segments):
    visualizer.add_datasample('x', IMAGE, sample(segments), draw_gt=False, pred_score_thr=0.95)
    assert (columns(visualizer.get_image())[0] == IMAGE).all()


def test_one_kind_is_drawn_as_by_mmdet(visualizer, segments):
    both = sample(segments)
    del both.pred_instances, both.pred_sem_seg
    stock = DetLocalVisualizer()
    stock.dataset_meta = visualizer.dataset_meta
    for painter in (stock, visualizer):
        painter.add_datasample('x', IMAGE, both, draw_gt=False)
    assert (visualizer.get_image() == stock.get_image()).all()


def test_pictures_go_to_a_file_or_to_the_backends(tmp_path, segments):
    made = VISUALIZERS.build(
        dict(
            type='PanopticVisualizer',
            name='backends',
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path / 'store'),
        )
    )
    made.dataset_meta = META | dict(palette=PALETTE)
    made.add_datasample('x', IMAGE, sample(segments), out_file=str(tmp_path / 'out/x.png'))
    assert cv2.imread(str(tmp_path / 'out/x.png')).shape == (HEIGHT, 3 * WIDTH, 3)
    assert not list(tmp_path.rglob('store/**/*.png'))
    made.add_datasample('x', IMAGE, sample(segments))
    (stored,) = tmp_path.rglob('store/**/*.png')
    assert (cv2.imread(str(stored))[..., ::-1] == made.get_image()).all()


def test_boxes_beyond_the_image_do_not_move_the_picture(visualizer, segments):
    wide = sample(segments)
    wide.pred_instances.bboxes = torch.tensor([[-30.0, -30, 300, 300]])
    del wide.pred_instances.masks
    visualizer.line_width = 1
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*out of bounds')
        visualizer.add_datasample('x', IMAGE, wide, draw_gt=False)
    drawn = columns(visualizer.get_image())[0]
    assert drawn.shape == IMAGE.shape and (drawn[30:40, 30:50] == 128).all()
    assert wide.pred_instances.bboxes[0, 0] == -30


def test_nothing_to_draw_is_the_image(visualizer):
    visualizer.add_datasample('x', IMAGE)
    assert (visualizer.get_image() == IMAGE).all()
