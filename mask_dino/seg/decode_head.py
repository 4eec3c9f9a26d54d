"""A decode head for MMSegmentation's ``EncoderDecoder``, and its test-time augmentation."""

from collections.abc import Callable, Sequence

from mmengine.registry import DefaultScope
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..boxes import masks_to_boxes
from ..models import MaskDINOHead
from ..optim import require_float32
from ..postprocess import TEMPERATURE, ImageSizes, check_finite, score_pixels, sharpen_classes
from ..structures import Outputs, QueryPredictions, Targets

MAX_MASK_PIXELS = 2**22


@MODELS.register_module()
class MaskDINODecodeHead(MaskDINOHead):
    """The network behind the backbone, for semantic segmentation. Its parts and their arguments are the parent's.

    It is a MaskDINOHead so that both shells have the same parameter names. ``EncoderDecoder`` calls ``forward``,
    ``loss`` and ``predict`` with other arguments than the parent has; this is why their signatures differ.

    The network does not mask the padding of a batch, as in the original: the results of an image depend slightly on
    the sizes of the other images in its batch.

    ``model.test_cfg``, besides the segmentor's own settings:
        ``max_mask_pixels``: Pixels, over all masks or classes, that are held besides the map of scores. It bounds the
            memory and changes no result.
        ``temperature``: Temperature of the softmax that sharpens the class probabilities of a sigmoid.

    Args:
        num_classes: Number of classes. Each class of an image is one segment.
        ignore_index: Label of pixels that are in no mask and that no mask loss looks at.
        align_corners: How the segmentor resizes the scores to the original image.

    Raises:
        ValueError: If there are fewer than 2 classes.
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
                f'MaskDINODecodeHead: num_classes={num_classes}; background is also a class: set 2 or more'
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
        """Return the parent's outputs, or without targets the last layer: the segmentor's mode ``tensor``.

        Args:
            feats: Maps (B, C_i, H_i, W_i) of the backbone, from high to low resolution.
            targets: Ground truth of each image, in training.
        """
        return super().predict(feats) if targets is None else super().forward(feats, targets)

    def loss(  # type: ignore[override]
        self,
        feats: Sequence[Tensor],
        data_samples: list[SegDataSample],
        train_cfg: dict | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted losses of a batch.

        Args:
            feats: Maps (B, C_i, H_i, W_i) of the backbone, from high to low resolution.
            data_samples: B label maps ``gt_sem_seg`` (1, H, W), padded to the network's input.

        Raises:
            ValueError: If a label map does not fit the classes or the image.
        """
        targets = [
            to_targets(sample, self.num_classes, self.ignore_index) for sample in data_samples
        ]
        return super().loss(feats, targets)

    def predict(  # type: ignore[override]
        self, feats: Sequence[Tensor], img_metas: list[dict], test_cfg: dict
    ) -> Tensor:
        """Return the scores (B, num_classes, H, W) of the classes at the size of the network's input.

        Args:
            feats: Maps (B, C_i, H_i, W_i) of the backbone, from high to low resolution.
            img_metas: Meta information of the B images, with ``img_shape`` and perhaps ``pad_shape``.

        Raises:
            PredictionError: If a prediction is NaN or infinite.
        """
        size = input_size(img_metas[0], test_cfg.get('mode'))
        sizes = ImageSizes(size, size, size)
        max_pixels = test_cfg.get('max_mask_pixels', MAX_MASK_PIXELS)
        logits, _, masks = (x.float() for x in super().predict(feats))
        for i, meta in enumerate(img_metas):
            check_finite(
                str(meta.get('img_path', f'image {i} of the batch')),
                dict(logits=logits[i], masks=masks[i]),
            )
        classes = self.classify(logits, test_cfg.get('temperature', TEMPERATURE))
        scores = masks.new_empty(len(masks), self.num_classes, *size)
        for i in range(len(scores)):
            score_pixels(classes[i], masks[i], sizes, max_pixels, out=scores[i])
        return scores

    def classify(self, logits: Tensor, temperature: float) -> Tensor:
        """Return class probabilities (B, Q, num_classes), without the class "no object"."""
        if self.criterion.loss_cls.use_sigmoid:
            return sharpen_classes(logits, temperature)
        return logits.softmax(-1)[..., :-1]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'MaskDINODecodeHead':
        require_float32(fn, 'MaskDINODecodeHead')
        head: MaskDINODecodeHead = super()._apply(fn, recurse)
        return head


def input_size(meta: dict, mode: str | None) -> tuple[int, int]:
    """Return the size (H, W) of the network's input: in mode ``slide`` of the window, else of the padded image."""
    is_padded = mode != 'slide' and meta.get('pad_shape')
    height, width = meta['pad_shape' if is_padded else 'img_shape'][:2]
    return height, width


def to_targets(sample: SegDataSample, num_classes: int, ignore_index: int) -> Targets:
    """Return the ground truth of one image, padded as the image is: the mask and box of each class that occurs.

    Returns:
        Labels (N,), boxes (N, 4) cxcywh in [0, 1], masks (N, H, W) and known pixels (H, W); see :class:`Targets`.

    Raises:
        ValueError: If the label map has labels that no class has.
    """
    classes = sample.gt_sem_seg.data[0].long()  # (H, W)
    present = classes.unique()
    labels = present[present != ignore_index]
    if len(labels) and not 0 <= labels[0] <= labels[-1] < num_classes:
        raise ValueError(
            f'{sample.get("seg_map_path", "a label map")} has the labels {labels.tolist()}, but there are '
            f'num_classes={num_classes} and ignore_index={ignore_index}: correct decode_head.num_classes, the map, or '
            'reduce_zero_label, which makes the labels begin with 0'
        )
    masks = classes == labels[:, None, None]
    # Without ignored pixels, all pixels are known and the losses need no map of them.
    known = classes != ignore_index if ignore_index in present else None
    boxes = masks_to_boxes(masks)
    return Targets(labels, boxes, masks, known)


@MODELS.register_module()
class ScoreTTAModel(SegTTAModel):
    """Averages the scores of all augmentations of an image, as the original does.

    mmseg's SegTTAModel averages their softmax. Our scores are sums of probabilities; a softmax would make them nearly
    equal. Only two maps of scores are held at a time, not one for each augmentation.
    """

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Return the averaged results of a batch.

        Args:
            data: Each of its values is a list with one batch per augmentation.
        """
        count = len(data['inputs'])
        merged = self.predict(data, 0)
        for index in range(1, count):
            for total, sample in zip(merged, self.predict(data, index), strict=True):
                total.seg_logits.data.add_(sample.seg_logits.data)  # (num_classes, H, W)
        for sample in merged:
            scores = sample.seg_logits.data.div_(count)
            sample.pred_sem_seg.data = scores.argmax(0, keepdim=True)
        return merged

    def predict(self, data: dict, index: int) -> list[SegDataSample]:
        """Return the results of augmentation ``index`` of a batch."""
        samples: list[SegDataSample] = self.module.test_step(
            {name: value[index] for name, value in data.items()}
        )
        return samples
