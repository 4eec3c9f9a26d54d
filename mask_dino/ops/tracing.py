"""Parts of the network that are single operations where it is traced: for an export, and by torch.compile.

- The sizes of the trace of an export are symbols, and the shape of every intermediate value is a formula of them. With
  the many values of the sampling, and with a number of queries that is a formula, a trace takes several times as long.
  :mod:`mask_dino.export` writes the operations of this module in operators of ONNX.
- torch.compile cannot look into the sparse products by which a CPU samples.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

from .grid_sampling import sample_grid
from .sparse_sampling import differentiate_sparse, sample_sparse


def is_exporting() -> bool:
    """Tell whether the network is traced for torch.export or torch.onnx; torch.compile is not meant."""
    return torch.jit.is_tracing() or _is_exporting()


def is_traced() -> bool:
    """Tell whether the network is traced, for an export or by torch.compile."""
    return is_exporting() or torch.compiler.is_compiling()


def _is_exporting() -> bool:
    # torch.compile takes torch.compiler.is_exporting() for true in torch 2.11. It reads this flag as it is.
    if hasattr(torch.compiler, '_is_exporting_flag'):
        return bool(torch.compiler._is_exporting_flag)
    # Before torch 2.7, export and compilation cannot be told apart.
    return bool(torch.compiler.is_compiling())


_SINGLE_OPERATIONS = ContextVar('single_operations', default=False)


@contextmanager
def single_operations() -> Iterator[None]:
    """Trace the parts of this module as one operation each in the body of the statement."""
    token = _SINGLE_OPERATIONS.set(True)
    try:
        yield
    finally:
        _SINGLE_OPERATIONS.reset(token)


def wants_single_operations() -> bool:
    """Tell whether the network is traced within :func:`single_operations`."""
    # torch.compile cannot read a context variable.
    return is_exporting() and _SINGLE_OPERATIONS.get()


def sample_levels(
    values: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    """Return the sums (B, Q, C) of :func:`sample_grid`, for sizes in one list: height and width of each level."""
    return sample_grid(values, pair_sizes(sizes), locations, weights).contiguous()


def flatten_sizes(sizes: Sequence[Sequence[int]]) -> list[int]:
    """Return the sizes of levels in one list, which an operation of torch takes: height, width, height, width, ..."""
    return [length for size in sizes for length in size]


def pair_sizes(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return the sizes (h, w) of levels from one list."""
    return list(zip(lengths[::2], lengths[1::2], strict=True))


def select_highest(scores: Tensor, count: int) -> Tensor:
    """Return the indices (B, Q) of the ``count`` highest scores (B, L), or of all where there are fewer."""
    return scores.topk(min(count, scores.shape[1]), dim=1).indices


def _sample_fake(
    values: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    batch, _, heads, channels = values.shape
    return values.new_empty(batch, locations.shape[1], heads * channels)


def _select_highest_fake(scores: Tensor, count: int) -> Tensor:
    num_queries = torch.library.get_ctx().new_dynamic_size(min=1, max=count)
    return scores.new_empty(scores.shape[0], num_queries, dtype=torch.int64)


Returned = TypeVar('Returned')
CAN_DEFINE_OPERATIONS = hasattr(torch.library, 'custom_op')


def define_operation(
    name: str, function: Callable[..., Returned], fake: Callable[..., Returned]
) -> Callable[..., Returned]:
    """Return a function as one operation of torch, or as it is where torch is older than 2.4 and cannot define any.

    Args:
        name: Of the operation, in ``torch.ops.mask_dino``.
        function: What the operation computes.
        fake: The same for tensors without values.
    """
    if not CAN_DEFINE_OPERATIONS:
        return function
    operation = torch.library.custom_op(f'mask_dino::{name}', function, mutates_args=())
    operation.register_fake(fake)
    return operation


sample_levels_once = define_operation('sample_levels', sample_levels, _sample_fake)
select_highest_once = define_operation('select_highest', select_highest, _select_highest_fake)


def _sample_sparse(
    values: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    with torch.no_grad():
        return sample_sparse(values, pair_sizes(sizes), locations, weights)


def _differentiate_sparse(
    values: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return differentiate_sparse(values, pair_sizes(sizes), locations, weights, gradient)


def _differentiate_sparse_fake(
    values: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        values.new_empty(values.shape),
        locations.new_empty(locations.shape),
        weights.new_empty(weights.shape),
    )


def _keep_arguments(ctx: Any, inputs: tuple, output: Tensor) -> None:
    values, ctx.sizes, locations, weights = inputs
    ctx.save_for_backward(values, locations, weights)


def _apply_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    values, locations, weights = ctx.saved_tensors
    gradients = differentiate_sparse_once(values, ctx.sizes, locations, weights, gradient)
    return gradients[0], None, *gradients[1:]


sample_sparse_once = define_operation('sample_sparse', _sample_sparse, _sample_fake)
differentiate_sparse_once = define_operation(
    'differentiate_sparse', _differentiate_sparse, _differentiate_sparse_fake
)
if CAN_DEFINE_OPERATIONS:
    torch.library.register_autograd(
        'mask_dino::sample_sparse', _apply_gradient, setup_context=_keep_arguments
    )
