"""A page of pictures: image, ground truth and prediction side by side."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData


def draw_page(
    model: BaseModel,
    dataset: BaseDataset,
    indices: Sequence[int],
    out_file: Path,
    scale: int = 3,
    score_thr: float = 0.2,
) -> None:
    """Predict on images of a dataset and draw them, two to a row: the image, its ground truth, the prediction.

    Args:
        dataset: A dataset of mmdet in test mode, with annotations.
        scale: Factor by which images are enlarged, for small ones.
        score_thr: Predictions below are not drawn.

    Raises:
        OSError: If the page cannot be written.
    """
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    rows = [draw_row(model, dataset[i], visualizer, scale, score_thr) for i in indices]
    pairs = [np.hstack(rows[i : i + 2]) for i in range(0, len(rows) - len(rows) % 2, 2)]
    out_file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out_file), np.vstack(pairs)[..., ::-1]):
        raise OSError(f'{out_file}: cannot be written')


def draw_row(model: BaseModel, item: dict, visualizer: DetLocalVisualizer, scale: int, score_thr: float) -> np.ndarray:
    """Return the RGB row (height, 3 * width, 3) of one image of a dataset."""
    with torch.no_grad():
        [sample] = model.test_step(pseudo_collate([item]))
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = DetDataSample(
        gt_instances=enlarge(sample.gt_instances, scale), pred_instances=enlarge(sample.pred_instances.cpu(), scale)
    )
    visualizer.add_datasample('page', image, large, pred_score_thr=score_thr, draw_gt=True, draw_pred=True)
    row = np.hstack((image, visualizer.get_image()))
    return cv2.copyMakeBorder(row, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def enlarge(instances: InstanceData, scale: int) -> InstanceData:
    """Scale boxes and masks by a whole factor, boxes clipped to the image: beyond it, they would move the picture."""
    masks = instances.masks
    masks = masks if isinstance(masks, torch.Tensor) else masks.to_tensor(torch.bool, 'cpu')
    large = InstanceData(**dict(instances.items()))
    border = torch.tensor(masks.shape[:0:-1]).repeat(2)
    large.bboxes = torch.as_tensor(instances.bboxes).clamp(min=torch.zeros(4), max=border) * scale
    if len(masks):
        masks = F.interpolate(masks[None].float(), scale_factor=scale, mode='nearest')[0].bool()
    else:
        masks = masks.new_zeros(0, masks.shape[1] * scale, masks.shape[2] * scale)
    large.masks = masks.numpy()
    return large
