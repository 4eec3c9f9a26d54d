import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mask_dino.seg.data import SemanticVisualizer


@pytest.mark.parametrize('layout', ['C', 'F'])
def test_pictures_are_the_same_whatever_the_layout_of_the_image(tmp_path, layout):
    visualizer = SemanticVisualizer(vis_backends=[], alpha=0.5)
    visualizer.dataset_meta = dict(classes=('sky', 'sea'), palette=[[0, 0, 200], [200, 0, 0]])
    labels = torch.zeros(1, 40, 60, dtype=torch.long)
    labels[:, 20:] = 1
    image = np.asarray(np.full((40, 60, 3), 100, np.uint8), order=layout)
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    visualizer.add_datasample('x', image, sample, draw_pred=False, out_file=str(tmp_path / 'x.png'))
    drawn = cv2.imread(str(tmp_path / 'x.png'))[..., ::-1]
    assert drawn[2, 2].tolist() == [50, 50, 150]
    assert drawn[-2, 2].tolist() == [150, 50, 50]
