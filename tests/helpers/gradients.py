"""What modules keep for the backward pass, and their gradients beside those of other modules."""

import torch


def kept(function, *inputs):
    """The elements of the largest tensor that a call keeps for the backward pass."""
    sizes = [0]
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        function(*inputs)
    return max(sizes)


def assert_same_gradients(ours, theirs, inputs, parameters):
    upstream = torch.randn_like(ours)
    for mine, other in zip(parameters[0], parameters[1], strict=True):
        values = [
            torch.autograd.grad(y, (*inputs, p), upstream, retain_graph=True)
            for y, p in ((ours, mine), (theirs, other))
        ]
        for a, b in zip(*values, strict=True):
            torch.testing.assert_close(a, b)
