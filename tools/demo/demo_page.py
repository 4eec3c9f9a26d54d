"""A page of pictures: image, ground truth and each kind of result side by side."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mask_dino.det.visualizer import RESULTS, TRUTH, PanopticVisualizer

FRAME = 4  # white pixels around the row of an image


def draw_page(
    model: BaseModel,
    dataset: BaseDataset,
    indices: Sequence[int],
    out_file: Path,
    scale: int = 2,
    score_thr: float = 0.2,
) -> None:
    """Predict on images of a dataset and draw them, two to a row: the image, its ground truth, the results.

    Args:
        dataset: A dataset of mmdet in test mode, with annotations.
        scale: Factor by which images are enlarged, for small ones.
        score_thr: Instances with a lower score are not drawn.

    Raises:
        OSError: If the page cannot be written.
    """
    visualizer = PanopticVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    rows = [draw_row(model, dataset[i], visualizer, scale, score_thr) for i in indices]
    left, right = rows[0::2], rows[1::2]
    pairs = [
        np.hstack(pair) for pair in zip(left, right, strict=False)
    ]  # an odd row at the end is left out
    page = np.vstack(pairs)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out_file), page[..., ::-1]):
        raise OSError(f'{out_file}: cannot be written')


def draw_row(
    model: BaseModel, item: dict, visualizer: DetLocalVisualizer, scale: int, score_thr: float
) -> np.ndarray:
    """Return the RGB row (height, columns * width, 3) of one image of a dataset."""
    with torch.no_grad():
        [sample] = model.test_step(pseudo_collate([item]))
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = enlarge_sample(sample.cpu(), scale)
    visualizer.add_datasample('page', image, large, pred_score_thr=score_thr)
    row = np.hstack((image, visualizer.get_image()))
    frame = (FRAME, FRAME)
    return np.pad(row, (frame, frame, (0, 0)), constant_values=255)


def enlarge_sample(sample: DetDataSample, scale: int) -> DetDataSample:
    """Scale ground truth and results by a whole factor."""
    large = DetDataSample()
    for field in (*TRUTH, *RESULTS):
        value = sample.get(field)
        if isinstance(value, PixelData):
            setattr(large, field, PixelData(sem_seg=enlarge_maps(value.sem_seg, scale)))
        elif value is not None:
            setattr(large, field, enlarge_instances(value, scale))
    return large


def enlarge_instances(instances: InstanceData, scale: int) -> InstanceData:
    """Scale boxes and masks."""
    masks = instances.masks
    masks = masks if isinstance(masks, Tensor) else masks.to_tensor(torch.bool, 'cpu')
    large = InstanceData(**dict(instances.items()))
    large.bboxes = torch.as_tensor(instances.bboxes) * scale
    large.masks = enlarge_maps(masks, scale).numpy()
    return large


def enlarge_maps(maps: Tensor, scale: int) -> Tensor:
    """Repeat every pixel of (N, H, W) maps."""
    return maps.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
