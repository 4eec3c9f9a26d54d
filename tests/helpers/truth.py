"""Ground truth of panoptic data, given back as what a perfect model would predict."""

import numpy as np
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset
from mmengine.structures import InstanceData, PixelData

from mask_dino.datasets.panoptic_png import Segment, read_panoptic_map


def perfect(dataset: BaseDataset, index: int) -> DetDataSample:
    """Return the prediction of one image: crowds are of their class, and no instances."""
    info, classes = dataset.get_data_info(index), dataset.metainfo['classes']
    things = len(dataset.metainfo['thing_classes'])
    infos = info['segments_info']
    size = (info['height'], info['width'])
    segments = [Segment(part['id'], part['category'], part['iscrowd'], None) for part in infos]
    found = read_panoptic_map(info['seg_map_path'], segments, size)
    values = [
        label + INSTANCE_OFFSET * number * (label < things)
        for number, label in enumerate(found.labels.tolist(), 1)
    ]
    panoptic = np.array([len(classes), *values])[found.pixels]
    chosen = np.array([i for i, part in enumerate(infos) if not part['iscrowd']], int)
    is_stuff = found.labels[chosen] >= things
    return DetDataSample(
        metainfo=dict(img_id=info['img_id'], img_path=info['img_path'], ori_shape=size),
        pred_panoptic_seg=PixelData(sem_seg=torch.from_numpy(panoptic)[None]),
        pred_sem_seg=PixelData(sem_seg=torch.from_numpy(found.label_pixels(0, crowds=True))[None]),
        pred_instances=instances(found.pixels, chosen[~is_stuff], found.labels),
        pred_stuff_instances=instances(found.pixels, chosen[is_stuff], found.labels),
    )


def instances(pixels: np.ndarray, chosen: np.ndarray, labels: np.ndarray) -> InstanceData:
    """Return the chosen segments of a map (H, W) as instances, found with certainty."""
    masks = pixels == chosen[:, None, None] + 1
    boxes = np.zeros((len(chosen), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        ys, xs = mask.nonzero()
        box[:] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    return InstanceData(
        masks=torch.from_numpy(masks),
        bboxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels[chosen]),
        scores=torch.ones(len(chosen)),
    )
