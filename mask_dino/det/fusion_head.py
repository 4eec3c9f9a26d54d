"""From the predictions of a batch to mmdet's results."""

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from ..postprocess import ImageSizes, Pairs, Segments, best_pairs, instances, label_pixels, merge, sharpen
from ..structures import QueryPredictions

Results = dict[str, InstanceData | PixelData]


@MODELS.register_module()
class MaskDINOFusionHead(MaskFormerFusionHead):
    """Turns the predictions of a batch into instances, a panoptic and a semantic map.

    ``test_cfg``:
        ``instance_on``, ``panoptic_on``, ``semantic_on``: Which of the three are made.
        ``stuff_on``: Whether instances of stuff are made, too: what is dropped of the best pairs of all classes because
            it is no thing. The AP of stuff is computed from them.
        ``max_per_image``: Instances to keep.
        ``rank_things_alone``: Whether the best ``max_per_image`` pairs of query and class are taken among things. If
            not, they are taken among all classes and those of stuff then dropped, as in the original, which leaves
            fewer. It makes no difference to a model without stuff.
        ``object_mask_thr``: Class probability from which a query takes part in the panoptic map.
        ``iou_thr``: Share of its area that a segment has to win against the others.
        ``temperature``: Of the softmax that sharpens the class probabilities of panoptic and semantic maps.
        ``max_mask_pixels``: Pixels of enlarged masks that are held in float at once. It bounds the memory of
            post-processing and changes no result.
    """

    def predict(
        self, predictions: QueryPredictions, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[Results]:
        """Return ``ins_results``, ``pan_results``, ``sem_results`` and ``stuff_results`` of images, as switched on."""
        makers = dict(ins_results=self.instances, pan_results=self.panoptic, sem_results=self.semantic)
        makers.update(stuff_results=self.stuff_instances)
        cfg = self.test_cfg
        switches = (cfg.instance_on, cfg.panoptic_on, cfg.semantic_on, cfg.stuff_on)
        chosen = [name for name, on in zip(makers, switches, strict=True) if on]
        results = []
        for image, sample in zip(zip(*predictions, strict=True), batch_data_samples, strict=False):
            single = QueryPredictions(*(x.float() for x in image))
            sizes = image_sizes(sample.metainfo, rescale)
            results.append({name: makers[name](single, sizes) for name in chosen})
        return results

    def instances(self, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the things of one image, whose predictions have no batch dimension."""
        return self.pack(self.pairs(predictions.logits), predictions, sizes)

    def stuff_instances(self, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the instances of stuff of one image."""
        pairs = best_pairs(predictions.logits, self.test_cfg.max_per_image)
        return self.pack(pairs.where(pairs.labels >= self.num_things_classes), predictions, sizes)

    def pack(self, pairs: Pairs, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the pairs of one image as instances."""
        found = instances(pairs, predictions.boxes, predictions.masks, sizes, self.test_cfg.max_mask_pixels)
        return InstanceData(bboxes=found.boxes, labels=found.labels, scores=found.scores, masks=found.masks)

    def pairs(self, logits: Tensor) -> Pairs:
        """Return the pairs of query and thing class that become instances."""
        things = self.num_things_classes
        if self.test_cfg.rank_things_alone:
            return best_pairs(logits[:, :things], self.test_cfg.max_per_image)
        pairs = best_pairs(logits, self.test_cfg.max_per_image)
        return pairs.where(pairs.labels < things)

    def panoptic(self, predictions: QueryPredictions, sizes: ImageSizes) -> PixelData:
        """Return ``sem_seg`` (1, H, W) of one image: class + number of the thing * INSTANCE_OFFSET, void last."""
        cfg = self.test_cfg
        logits, _, masks = predictions
        # A query is chosen by its sigmoid score, and competes with its sharpened one.
        chosen = (logits.sigmoid().amax(-1) > cfg.object_mask_thr).nonzero()[:, 0]
        scores, labels = sharpen(logits[chosen], cfg.temperature).max(-1)
        pairs = Pairs(scores, chosen, labels)
        segments = merge(pairs, masks, sizes, cfg.max_mask_pixels, self.num_things_classes, cfg.iou_thr)
        return PixelData(sem_seg=self.encode(segments)[None])

    def encode(self, segments: Segments) -> Tensor:
        """Return mmdet's panoptic map (H, W) int64."""
        values, things = list[int](), 0
        for label in segments.labels:
            is_thing = label < self.num_things_classes
            things += is_thing
            values.append(label + INSTANCE_OFFSET * things * is_thing)
        # Index -1, no segment, takes the last.
        return torch.tensor([*values, self.num_classes], device=segments.pixels.device)[segments.pixels]

    def semantic(self, predictions: QueryPredictions, sizes: ImageSizes) -> PixelData:
        """Return ``sem_seg`` (1, H, W) of one image, the class of every pixel."""
        classes = sharpen(predictions.logits, self.test_cfg.temperature)
        labels = label_pixels(classes, predictions.masks, sizes, self.test_cfg.max_mask_pixels)
        return PixelData(sem_seg=labels[None])


def image_sizes(metainfo: dict, rescale: bool) -> ImageSizes:
    """Read the sizes of an image off its meta information; results go back to the original size if ``rescale``."""
    resized = tuple(metainfo['img_shape'][:2])
    output = tuple(metainfo['ori_shape'][:2]) if rescale else resized
    return ImageSizes(tuple(metainfo['batch_input_shape']), resized, output)
