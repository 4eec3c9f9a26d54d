"""From the predictions of a batch to mmdet's results."""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.models.seg_heads import BasePanopticFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from ..ops.stray_pixels import check_window
from ..postprocess import (
    ImageSizes,
    Pairs,
    Segments,
    check_finite,
    clean_things,
    label_pixels,
    make_instances,
    merge_masks,
    select_best_pairs,
    sharpen_classes,
)
from ..structures import QueryPredictions

Results = dict[str, InstanceData | PixelData]
Maker = Callable[[QueryPredictions, ImageSizes], InstanceData | PixelData]


@MODELS.register_module()
class MaskDINOFusionHead(BasePanopticFusionHead):
    """Turns the predictions of a batch into instances, a panoptic map and a semantic map.

    ``test_cfg``:
        ``instance_on``, ``panoptic_on``, ``semantic_on``: Which of the three are made.
        ``stuff_on``: Also return instances of stuff: the best pairs of query and class whose class is stuff. The AP of
            stuff is computed from them.
        ``max_per_image``: Number of instances.
        ``rank_things_alone``: If True, only pairs of things compete for the ``max_per_image`` places. If False, pairs
            of all classes compete and the pairs of stuff are dropped afterwards, as in the original, which leaves fewer
            instances. Both are equal for a model without stuff.
        ``object_mask_thr``: Minimum class probability of a segment, in [0, 1].
        ``iou_thr``: Minimum fraction of its mask that must remain visible in a segment, in [0, 1].
        ``temperature``: Temperature of the softmax that sharpens the class probabilities of panoptic and semantic maps.
        ``mask_window``: With it, the masks of things have no pixels outside of a window around their boxes, so many
            times as large as the box; see :func:`~mask_dino.postprocess.things.clean_things`. The original has none.
        ``mean_boxes``: Whether the box of an instance is the mean of its predicted box and the box of its mask; see
            :func:`~mask_dino.postprocess.things.average_boxes`. In the original, it is the predicted box.
        ``agreement_scores``: Whether the score of an instance is multiplied with the square root of the IoU of its
            predicted box and the box of its mask. In the original, it is not.
        ``nms_iou``: With it, things whose box has a larger IoU with that of a better thing of the same class are left
            out; see :func:`~mask_dino.postprocess.things.find_distinct`. In the original, all are kept.
        ``max_mask_pixels``: Pixels of enlarged masks that are held in float at once. It bounds the memory of
            post-processing and changes no result.

    Raises:
        ValueError: ``mask_window`` or ``nms_iou`` is out of range.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_window(self.test_cfg.get('mask_window'), 'test_cfg.mask_window')
        nms_iou = self.test_cfg.get('nms_iou')
        if nms_iou is not None and not 0 <= nms_iou <= 1:
            raise ValueError(
                f'test_cfg.nms_iou={nms_iou}: set an IoU from 0 to 1, such as 0.7, or None to keep all things'
            )

    def loss(self) -> dict[str, Tensor]:
        """Return no losses: nothing is learned here."""
        return {}

    def predict(
        self,
        predictions: QueryPredictions,
        batch_data_samples: list[DetDataSample],
        rescale: bool = True,
    ) -> list[Results]:
        """Return the results of each image that ``test_cfg`` switches on.

        Args:
            predictions: Of a batch; see :class:`QueryPredictions` for the shapes.
            batch_data_samples: One for each image of the batch, with the sizes of the image.
            rescale: Whether results have the size of the original image instead of the resized one.

        Returns:
            For each image a dictionary with ``ins_results``, ``pan_results``, ``sem_results`` and ``stuff_results``.

        Raises:
            PredictionError: If a prediction is NaN or infinite.
        """
        makers = self.choose_makers()
        window = self.test_cfg.get('mask_window')
        if window is not None:
            predictions = clean_things(predictions, self.num_things_classes, window)
        results = []
        for index, sample in zip(range(len(predictions.logits)), batch_data_samples, strict=True):
            image = QueryPredictions(*(x[index].float() for x in predictions))
            check_finite(
                str(sample.get('img_path', f'image {index} of the batch')), image._asdict()
            )
            sizes = read_sizes(sample.metainfo, rescale)
            results.append({name: make(image, sizes) for name, make in makers.items()})
        return results

    def choose_makers(self) -> dict[str, Maker]:
        """Return the method that makes each kind of result that ``test_cfg`` switches on."""
        cfg = self.test_cfg
        makers: dict[str, Maker] = {}
        if cfg.instance_on:
            makers['ins_results'] = self.make_things
        if cfg.panoptic_on:
            makers['pan_results'] = self.make_panoptic_map
        if cfg.semantic_on:
            makers['sem_results'] = self.make_semantic_map
        if cfg.stuff_on:
            makers['stuff_results'] = self.make_stuff
        return makers

    def make_things(self, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the instances of things of one image, whose predictions have no batch dimension."""
        pairs = self.select_things(predictions.logits)
        return self.pack_pairs(pairs, predictions, sizes, are_things=True)

    def make_stuff(self, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the instances of stuff of one image."""
        pairs = select_best_pairs(predictions.logits, self.test_cfg.max_per_image)
        stuff = pairs.where(pairs.labels >= self.num_things_classes)
        return self.pack_pairs(stuff, predictions, sizes, are_things=False)

    def select_things(self, logits: Tensor) -> Pairs:
        """Return the pairs of query and thing class that become instances, from logits (Q, num_classes)."""
        max_pairs = self.test_cfg.max_per_image
        if self.test_cfg.rank_things_alone:
            thing_logits = logits[:, : self.num_things_classes]
            return select_best_pairs(thing_logits, max_pairs)
        pairs = select_best_pairs(logits, max_pairs)
        is_thing = pairs.labels < self.num_things_classes
        return pairs.where(is_thing)

    def pack_pairs(
        self,
        pairs: Pairs,
        predictions: QueryPredictions,
        sizes: ImageSizes,
        are_things: bool,
    ) -> InstanceData:
        """Return the pairs of one image as mmdet's instances. Boxes of stuff are not trained and decide nothing."""
        max_pixels = self.test_cfg.max_mask_pixels
        _, boxes, masks = predictions
        result = make_instances(
            pairs,
            boxes,
            masks,
            sizes,
            max_pixels,
            self.test_cfg.get('mean_boxes', False),
            are_things and self.test_cfg.get('agreement_scores', False),
            self.test_cfg.get('nms_iou') if are_things else None,
        )
        return InstanceData(
            bboxes=result.boxes, labels=result.labels, scores=result.scores, masks=result.masks
        )

    def make_panoptic_map(self, predictions: QueryPredictions, sizes: ImageSizes) -> PixelData:
        """Return ``sem_seg`` (1, H, W) of one image: see :meth:`encode_segments`."""
        cfg = self.test_cfg
        logits, _, masks = predictions
        # A query is selected by its sigmoid score, but competes with its sharpened score.
        is_sure = logits.sigmoid().amax(-1) > cfg.object_mask_thr
        query = is_sure.nonzero()[:, 0]
        scores, labels = sharpen_classes(logits[query], cfg.temperature).max(-1)
        pairs = Pairs(scores, query, labels)
        segments = merge_masks(
            pairs, masks, sizes, cfg.max_mask_pixels, self.num_things_classes, cfg.iou_thr
        )
        return PixelData(sem_seg=self.encode_segments(segments)[None])

    def encode_segments(self, segments: Segments) -> Tensor:
        """Return mmdet's panoptic map (H, W) int64.

        A pixel of a thing is its class + INSTANCE_OFFSET * its number, from 1. A pixel of stuff is its class. A pixel
        without segment is the number of classes.
        """
        values: list[int] = []
        number = 0
        for label in segments.labels:
            if label < self.num_things_classes:
                number += 1
                values.append(label + INSTANCE_OFFSET * number)
            else:
                values.append(label)
        values.append(self.num_classes)  # index -1, no segment, takes the last value
        return torch.tensor(values, device=segments.pixels.device)[segments.pixels]

    def make_semantic_map(self, predictions: QueryPredictions, sizes: ImageSizes) -> PixelData:
        """Return ``sem_seg`` (1, H, W) of one image: the class of every pixel."""
        classes = sharpen_classes(predictions.logits, self.test_cfg.temperature)
        labels = label_pixels(classes, predictions.masks, sizes, self.test_cfg.max_mask_pixels)
        return PixelData(sem_seg=labels[None])


def read_sizes(metainfo: dict, rescale: bool) -> ImageSizes:
    """Read the sizes of an image from its meta information.

    Args:
        metainfo: Has ``batch_input_shape``, ``img_shape`` and ``ori_shape``, each (height, width).
        rescale: Whether results have the size of the original image instead of the resized one.
    """
    resized = tuple(metainfo['img_shape'][:2])
    output = tuple(metainfo['ori_shape'][:2]) if rescale else resized
    return ImageSizes(tuple(metainfo['batch_input_shape']), resized, output)
