"""A decode head for MMSegmentation's ``EncoderDecoder``."""

from collections.abc import Sequence

from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..boxes import masks_to_boxes
from ..models import MaskDINOHead
from ..postprocess import ImageSizes, score_pixels, sharpen_classes
from ..structures import Outputs, QueryPredictions, Targets

MAX_MASK_PIXELS = 2**22
TEMPERATURE = 0.06


@MODELS.register_module()
class MaskDINODecodeHead(MaskDINOHead):
    """The network behind the backbone, for semantic segmentation; its parts and their arguments are the parent's.

    ``model.test_cfg``, beside the segmentor's own settings:
        ``max_mask_pixels``: Pixels, over all masks or classes, that are held beside the map of scores. It bounds the
            memory and changes no result.
        ``temperature``: Of the softmax that sharpens the class probabilities of a sigmoid.

    Args:
        num_classes: Classes; each of them is one segment of an image.
        ignore_index: Label of pixels that take part in nothing.
        align_corners: How the segmentor resizes the scores to the original image.
    """

    def __init__(
        self,
        num_classes: int,
        pixel_decoder: dict,
        queries: dict,
        decoder: dict,
        denoising: dict,
        criterion: dict,
        embed_dims: int = 256,
        prior_prob: float | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
    ) -> None:
        if num_classes < 2:
            raise ValueError(
                f'MaskDINODecodeHead: num_classes={num_classes}; background is a class, too: set 2 or more'
            )
        parts = (pixel_decoder, queries, decoder, denoising, criterion)
        # The parts, their losses and match costs are registered with mmdet.
        with DefaultScope.overwrite_default_scope('mmdet'):
            super().__init__(0, num_classes, *parts, embed_dims=embed_dims, prior_prob=prior_prob)
        self.out_channels = num_classes
        self.ignore_index = ignore_index
        self.align_corners = align_corners

    def forward(  # type: ignore[override]
        self, feats: Sequence[Tensor], targets: list[Targets] | None = None
    ) -> Outputs | QueryPredictions:
        """Predict as the parent does; without targets, return the last layer alone: the segmentor's mode ``tensor``."""
        return super().predict(feats) if targets is None else super().forward(feats, targets)

    def loss(  # type: ignore[override]
        self, feats: Sequence[Tensor], data_samples: list[SegDataSample], train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted losses of a batch.

        Raises:
            ValueError: If a label map does not fit the classes or the image.
        """
        targets = [to_targets(sample, self.num_classes, self.ignore_index) for sample in data_samples]
        return super().loss(feats, targets)

    def predict(  # type: ignore[override]
        self, feats: Sequence[Tensor], img_metas: list[dict], test_cfg: dict
    ) -> Tensor:
        """Return the scores (B, num_classes, H, W) of the classes at the size of the network's input."""
        size = input_size(img_metas[0], test_cfg.get('mode'))
        sizes = ImageSizes(size, size, size)
        budget = test_cfg.get('max_mask_pixels', MAX_MASK_PIXELS)
        logits, _, masks = (x.float() for x in super().predict(feats))
        classes = self.classify(logits, test_cfg.get('temperature', TEMPERATURE))
        scores = masks.new_empty(len(masks), self.num_classes, *size)
        for i, image in enumerate(zip(classes, masks, strict=True)):
            score_pixels(*image, sizes, budget, out=scores[i])
        return scores

    def classify(self, logits: Tensor, temperature: float) -> Tensor:
        """Return class probabilities (B, Q, num_classes), those of "no object" left out."""
        if self.criterion.loss_cls.use_sigmoid:
            return sharpen_classes(logits, temperature)
        return logits.softmax(-1)[..., :-1]


def input_size(meta: dict, mode: str | None) -> tuple[int, int]:
    """Return the size (H, W) of what the network saw: the window, in mode ``slide``, else the padded image."""
    height, width = meta['img_shape' if mode == 'slide' else 'pad_shape' if meta.get('pad_shape') else 'img_shape'][:2]
    return height, width


def to_targets(sample: SegDataSample, num_classes: int, ignore_index: int) -> Targets:
    """Return the ground truth of one image, padded as the image is: a mask for each class that occurs, and its box."""
    classes = sample.gt_sem_seg.data[0].long()
    ignored = classes == ignore_index
    present = classes.unique()
    labels = present[present != ignore_index]
    if len(labels) and not 0 <= labels[0] <= labels[-1] < num_classes:
        raise ValueError(
            f'{sample.get("seg_map_path", "a label map")} has the labels {labels.tolist()}, but there are '
            f'num_classes={num_classes} and ignore_index={ignore_index}: correct decode_head.num_classes, the map, or '
            'reduce_zero_label, which makes the labels begin with 0'
        )
    masks = classes == labels[:, None, None]
    # Nothing to ignore is nothing to look up.
    return Targets(labels, masks_to_boxes(masks), masks, ~ignored if ignore_index in present else None)
