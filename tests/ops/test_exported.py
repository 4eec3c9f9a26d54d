import pytest
import torch

from mask_dino.ops import exported


def double(values: torch.Tensor) -> torch.Tensor:
    """Return twice the values."""
    return values * 2


def test_versions_of_torch_without_own_operations_compute_the_same(monkeypatch: pytest.MonkeyPatch):
    values = torch.arange(3.0)
    operation = exported.define_operation('test_double', double, torch.empty_like)
    monkeypatch.setattr(exported, 'CAN_DEFINE_OPERATIONS', False)
    function = exported.define_operation('test_double', double, torch.empty_like)
    assert function is double
    torch.testing.assert_close(operation(values), function(values))
