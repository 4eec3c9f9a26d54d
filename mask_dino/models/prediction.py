"""The branches that predict the class, box and mask of a query."""

import math

from mmdet.models.layers import MLP
from torch import Tensor, nn

from ..structures import Predictions, Queries


def build_box_branch(embed_dims: int) -> MLP:
    """Return a branch that refines references; it starts with zeros, so that every box starts as its reference."""
    branch = MLP(embed_dims, embed_dims, 4, 3)
    nn.init.zeros_(branch.layers[-1].weight)
    nn.init.zeros_(branch.layers[-1].bias)
    return branch


class PredictionHead(nn.Module):
    """Class, box and mask branches, shared by the encoder tokens, the initial queries and every decoder layer.

    Args:
        num_logits: Classes, plus one for "no object" where the class loss is a softmax cross-entropy.
        embed_dims: Channels of the queries and of the mask features.
        prior_prob: Initial probability of every class. The original leaves the bias at its default; a low prior
            (0.01) steadies the first steps on small data.
    """

    def __init__(
        self, num_logits: int, embed_dims: int = 256, prior_prob: float | None = None
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.class_embed = nn.Linear(embed_dims, num_logits)
        self.box_embed = build_box_branch(embed_dims)
        self.mask_embed = MLP(embed_dims, embed_dims, embed_dims, 3)
        if prior_prob is not None:
            nn.init.constant_(self.class_embed.bias, -math.log((1 - prior_prob) / prior_prob))

    def forward(self, queries: Queries) -> Predictions:
        """Predict for queries (B, Q, ...), with the reference refined by the box branch as the box."""
        reference = queries.reference + self.box_embed(queries.content)
        return self.predict_refined(Queries(queries.content, reference))

    def predict_refined(self, queries: Queries) -> Predictions:
        """Predict for queries (B, Q, ...) whose reference is already refined: it is the box.

        The content is normalised here even if a decoder layer has normalised it already. The original does so, and
        its weights depend on it.
        """
        content: Tensor = self.norm(queries.content)
        return Predictions(
            self.class_embed(content), queries.reference.sigmoid(), self.mask_embed(content)
        )
