"""The network behind the backbone, the same under both frameworks."""

from collections.abc import Sequence
from copy import deepcopy

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..structures import Outputs, Predictions, QueryPredictions, Targets
from .decoder import join_queries, stack_queries
from .prediction import PredictionHead


@MODELS.register_module()
class MaskDINOHead(BaseModule):
    """Mask DINO (arXiv 2206.02777) from backbone maps to predictions or losses; it only knows tensors.

    Args:
        num_things_classes: Classes of countable objects; their labels come first.
        num_stuff_classes: Classes of amorphous regions.
        pixel_decoder, queries, decoder, denoising, criterion: Configs of the parts. What they share (classes,
            channels, encoder levels) is filled in here.
        embed_dims: Channels of queries, encoder tokens and mask features.
        prior_prob: See :class:`PredictionHead`.
        train_cfg, test_cfg: Accepted because mmdet's detectors pass them; this head does not use them.

    Raises:
        ValueError: Settings do not fit together. The message names them.
    """

    def __init__(
        self,
        num_things_classes: int,
        num_stuff_classes: int,
        pixel_decoder: dict,
        queries: dict,
        decoder: dict,
        denoising: dict,
        criterion: dict,
        embed_dims: int = 256,
        prior_prob: float | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        if embed_dims % 32 or self.num_classes < 1:
            raise ValueError(
                f'MaskDINOHead: embed_dims={embed_dims} must be a multiple of 32, the groups of its norms, and '
                f'num_things_classes + num_stuff_classes={self.num_classes} must be 1 or more'
            )
        width = dict(embed_dims=embed_dims)
        classes = dict(num_classes=self.num_classes)
        self.pixel_decoder = MODELS.build(pixel_decoder | width)
        self.queries = MODELS.build(queries | width)
        self.decoder = MODELS.build(decoder | width | dict(num_levels=pixel_decoder['num_levels']))
        self.denoising = MODELS.build(denoising | width | classes)
        self.criterion = MODELS.build(
            criterion | classes | dict(num_things_classes=num_things_classes)
        )
        self.prediction = PredictionHead(self.criterion.num_logits, embed_dims, prior_prob)
        self.encoder_prediction = (
            deepcopy(self.prediction) if self.queries.separate_branches else None
        )
        self.check_anchor_sizes()
        if not self.criterion.uses_masks:
            self.freeze_masks()

    def check_anchor_sizes(self) -> None:
        """Compare the number of anchor sizes with the number of encoder levels.

        Raises:
            ValueError: They differ.
        """
        num_levels = len(self.pixel_decoder.input_convs)
        anchors = self.queries.anchor_sizes
        if anchors is not None and len(anchors) != num_levels:
            raise ValueError(
                f'queries.anchor_sizes has {len(anchors)} sizes, but pixel_decoder.num_levels={num_levels}: '
                'give one size per level, fine to coarse'
            )

    def freeze_masks(self) -> None:
        """Freeze the parameters that only mask losses train, so that every trainable parameter has a gradient.

        Raises:
            ValueError: The initial boxes are made of masks.
        """
        if self.queries.boxes_from_masks:
            raise ValueError(
                'queries.boxes_from_masks needs masks, but criterion.loss_mask is off: set it to False'
            )
        pixel_decoder = self.pixel_decoder
        unused = (pixel_decoder.lateral_conv, pixel_decoder.output_conv, pixel_decoder.mask_conv)
        heads = [head for head in (self.prediction, self.encoder_prediction) if head is not None]
        for module in (*unused, *(head.mask_embed for head in heads)):
            module.requires_grad_(False)

    def forward(self, feats: Sequence[Tensor], targets: list[Targets]) -> Outputs:
        """Predict at every layer, also for the denoising queries of the targets.

        Args:
            feats: Backbone maps (B, C_i, H / s_i, W / s_i) of strides s_i = 4, 8, 16 and 32, of padded images (H, W).
            targets: Of each image; their masks (N, H, W) and boxes span the padded image.
        """
        mask_features, memory = self.pixel_decoder(feats)
        token_prediction = self.encoder_prediction or self.prediction
        queries, encoder = self.queries(memory, token_prediction, mask_features)
        noised = self.denoising(targets, queries.content.shape[1])
        num_denoising = noised.queries.content.shape[1]
        queries = join_queries(noised.queries, queries)  # (B, D + Q, ...)
        refined = self.decoder(queries, memory, self.prediction, noised.attn_mask)
        queries_of_layers = stack_queries([queries, *refined])  # (S, B, D + Q, ...)
        layers = self.prediction.predict_refined(queries_of_layers)
        denoising, matching = layers.split(num_denoising)
        return Outputs(mask_features, matching, encoder, denoising, noised.matches)

    def loss(self, feats: Sequence[Tensor], targets: list[Targets]) -> dict[str, Tensor]:
        """Return the weighted losses of a batch, each a scalar, named as by mmdet's DINO; see :meth:`forward`."""
        losses: dict[str, Tensor] = self.criterion(self(feats, targets), targets)
        return losses

    def predict(self, feats: Sequence[Tensor]) -> QueryPredictions:
        """Return the predictions of the last layer for backbone maps (B, C_i, H / s_i, W / s_i)."""
        predictions, mask_features = self.predict_queries(feats)
        return predictions.decode(mask_features)

    def predict_queries(self, feats: Sequence[Tensor]) -> tuple[Predictions, Tensor]:
        """Return the predictions of the last layer, and the features (B, C, H/4, W/4) that masks are made from.

        A caller that needs few masks selects queries first and makes only their masks.
        """
        mask_features, memory = self.pixel_decoder(feats)
        token_prediction = self.encoder_prediction or self.prediction
        queries, _ = self.queries(memory, token_prediction, mask_features)
        refined = self.decoder(queries, memory, self.prediction)
        predictions: Predictions = self.prediction.predict_refined(refined[-1])
        return predictions, mask_features
