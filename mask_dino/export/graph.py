"""The network to export: the model's own modules, and the ranking of its predictions.

What depends on the size of the image or on how many queries remain is left to the runtime: enlarged masks of all
queries would take gigabytes inside a graph, while the runtime goes by few rows or by one mask at a time.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from ..postprocess import clean_things, select_best_pairs, sharpen_classes
from ..runtime.metadata import InputRule, Output
from ..structures import Predictions
from .model import TrainedModel

RAW = (
    Output(
        'logits',
        ('B', 'Q', 'K'),
        'logits of the classes; with a softmax head, the last is no object',
    ),
    Output('boxes', ('B', 'Q', '4'), 'cxcywh, fractions of the padded input'),
    Output('masks', ('B', 'Q', 'h', 'w'), 'mask logits at stride 4'),
)
PAIRS = (
    Output(
        'scores',
        ('B', 'N'),
        'class probability of each pair of query and class, best first, 0 to 1',
    ),
    Output('labels', ('B', 'N'), 'index of the class of each pair'),
    Output('boxes', ('B', 'N', '4'), 'xyxy of each pair, fractions of the padded input'),
    Output('mask_index', ('B', 'N'), 'index of the mask of each pair'),
)
QUERY_SCORES = Output('query_scores', ('B', 'Q'), 'highest class probability of each query, 0 to 1')
PROBABILITIES = Output(
    'probabilities', ('B', 'Q', 'K'), 'probabilities of the classes that compete for pixels, 0 to 1'
)
MASKS_OF_QUERIES = Output('masks', ('B', 'Q', 'h', 'w'), 'mask logits of each query at stride 4')
MASKS_OF_PAIRS = Output('masks', ('B', 'N', 'h', 'w'), 'mask logits of each pair at stride 4')


class Ranking(NamedTuple):
    """How pairs of query and class are ranked, and masks cleaned; with the names that ``test_cfg`` uses."""

    max_per_image: int
    rank_things_alone: bool
    temperature: float
    mask_window: float | None


class ExportedNetwork(nn.Module):
    """A model from images to the outputs of an exported file.

    Args:
        trained: The model.
        tasks: What the outputs are for; none: the raw predictions of all queries.
        rule: What the images are; where it is embedded, the network takes (B, H, W, 3) uint8 RGB.
        ranking: Settings of the ranking.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, trained: TrainedModel, tasks: tuple[str, ...], rule: InputRule, ranking: Ranking
    ) -> None:
        super().__init__()
        self.model = trained.model
        self.extract_feat: Any = trained.model.extract_feat  # of both frameworks' models
        self.head = trained.head
        # A softmax head, which only MMSegmentation's models have, adds a logit of "no object".
        self.is_softmax = not trained.head.criterion.loss_cls.use_sigmoid
        self.num_things = trained.head.num_things_classes
        self.tasks = tasks
        self.rule = rule
        self.ranking = ranking
        for name, values in (('mean', rule.mean), ('std', rule.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def makes_pairs(self) -> bool:
        """Whether boxes or masks of instances are asked for."""
        return 'instance' in self.tasks or 'detection' in self.tasks

    @property
    def makes_maps(self) -> bool:
        """Whether a panoptic or a semantic map is asked for, in which all queries take part."""
        return 'panoptic' in self.tasks or 'semantic' in self.tasks

    def describe_outputs(self) -> tuple[Output, ...]:
        """Describe what :meth:`forward` returns."""
        if not self.tasks:
            return RAW
        pairs = PAIRS if self.makes_pairs else ()
        scores = (QUERY_SCORES,) if 'panoptic' in self.tasks else ()
        maps = (PROBABILITIES, MASKS_OF_QUERIES) if self.makes_maps else (MASKS_OF_PAIRS,)
        return (*pairs, *scores, *maps)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of images."""
        if self.rule.embedded:
            images = self.preprocess(images)
        feats = self.extract_feat(images)
        predictions, mask_features = self.head.predict_queries(feats)
        if not self.tasks:
            return tuple(predictions.decode(mask_features))
        outputs: list[Tensor] = []
        if self.makes_pairs:
            pairs = select_best_pairs(self.thing_logits(predictions), self.ranking.max_per_image)
            boxes = bbox_cxcywh_to_xyxy(_gather(predictions.boxes, pairs.query))
            index = pairs.query
            if not self.makes_maps:
                predictions = Predictions(*(_gather(values, index) for values in predictions))
                index = _first_equal(index)
            outputs += [pairs.scores, pairs.labels, boxes, index]
        outputs += self.class_scores(predictions)
        decoded = predictions.decode(mask_features)
        if self.ranking.mask_window is not None:
            decoded = clean_things(decoded, self.num_things, self.ranking.mask_window)
        return (*outputs, decoded.masks)

    def thing_logits(self, predictions: Predictions) -> Tensor:
        """Return the logits (B, Q, classes) among which pairs are ranked; the reader drops pairs of stuff."""
        return (
            predictions.logits[..., : self.num_things]
            if self.ranking.rank_things_alone
            else predictions.logits
        )

    def class_scores(self, predictions: Predictions) -> list[Tensor]:
        """Return the class probabilities that panoptic and semantic maps are made of."""
        if not self.makes_maps:
            return []
        logits = predictions.logits
        if self.is_softmax:
            return [logits.softmax(-1)[..., :-1]]
        probabilities = sharpen_classes(logits, self.ranking.temperature)
        return (
            [logits.sigmoid().amax(-1), probabilities]
            if 'panoptic' in self.tasks
            else [probabilities]
        )

    def state_sizes(self, images: Tensor) -> Tensor:
        """Return the images (B, 3, H, W); in a trace, height and width are then known as multiples of the divisor.

        The sizes of all maps are then products instead of nested quotients, with which a trace takes longer.
        """
        divisor = self.rule.padding.divisor
        height, width = (size // divisor * divisor for size in images.shape[-2:])
        return images.narrow(2, 0, height).narrow(3, 0, width)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return normalised images (B, 3, H, W), padded, for bytes (B, H, W, 3)."""
        images = images.permute(0, 3, 1, 2).float()
        if self.rule.channel_order == 'BGR':
            images = images.flip(1)
        images = (images - self.mean) / self.std
        padding = self.rule.padding
        below, right = (-size % padding.divisor for size in images.shape[-2:])
        padded = F.pad(images, (0, right, 0, below), value=padding.value)
        return self.state_sizes(padded)


def _gather(values: Tensor, query: Tensor) -> Tensor:
    """Return the values (B, N, C) of queries (B, N), of values (B, Q, C)."""
    return values.gather(1, query[..., None].expand(-1, -1, values.shape[-1]))


def _first_equal(query: Tensor) -> Tensor:
    """Return, for every pair (B, N), a pair with the same query, which is the same for all of them."""
    return (query[:, :, None] == query[:, None]).int().argmax(-1)
