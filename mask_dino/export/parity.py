"""Comparison of an exported file with the model it was made of."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..runtime.enlarge import sigmoid
from ..runtime.network import Outputs

PAIR_OUTPUTS = ('scores', 'labels', 'boxes')
QUERY_OUTPUTS = ('logits', 'query_scores', 'probabilities')

SWAPPED = 0.02
"""Share of the rows that may differ: of two tokens with nearly equal scores, either can become the last query."""

COARSE = 8
"""Of the pixels of masks, one in COARSE of each axis is used for aligning."""


def compare_outputs(file: Outputs, model: Outputs) -> dict[str, float]:
    """Return the largest difference of each output of one image, after aligning queries and pairs.

    Masks are compared as probabilities.

    Args:
        file, model: Outputs without a batch dimension.
    """
    differences: dict[str, float] = {}
    for ours, theirs in zip(_tables(file), _tables(model), strict=True):
        order, compared = _align(ours, theirs)
        for name, values in theirs.items():
            difference = np.abs(ours[name][order][compared] - values[compared]).max(initial=0)
            differences[name] = max(float(difference), differences.get(name, 0.0))
    return differences


def _tables(outputs: Outputs) -> Iterator[Outputs]:
    """Yield the outputs by what their rows are: pairs of query and class, then queries."""
    masks = sigmoid(outputs['masks'].copy())
    has_pairs = 'scores' in outputs
    if has_pairs:
        pairs = {name: outputs[name].astype(np.float32) for name in PAIR_OUTPUTS}
        yield {**pairs, 'masks': masks[outputs['mask_index']]}
    queries = {name: outputs[name] for name in QUERY_OUTPUTS if name in outputs}
    if queries:
        boxes = {} if has_pairs or 'boxes' not in outputs else {'boxes': outputs['boxes']}
        yield {**queries, **boxes, 'masks': masks}


def _align(ours: Outputs, theirs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Return which of our rows belongs to each of theirs, and which of theirs are compared."""
    costs = cdist(_features(theirs), _features(ours), 'cityblock')
    rows, order = linear_sum_assignment(costs)
    ranking = np.argsort(costs[rows, order])
    compared = ranking[: len(rows) - int(SWAPPED * len(rows))]
    return order, compared


def _features(table: Outputs) -> np.ndarray:
    """Return numbers (N, F) by which rows are recognised."""
    masks = table['masks']
    columns = [masks[:, ::COARSE, ::COARSE]]
    for name, values in table.items():
        if name != 'masks':
            columns.append(values)
    flat = [values.reshape(len(values), -1) for values in columns]
    features = np.concatenate(flat, axis=1)
    # The difference itself stays NaN, which is within no tolerance.
    return np.nan_to_num(features)
