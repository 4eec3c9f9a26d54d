"""Checks of the data before the first step."""

from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ..datasets.checks.loaders import check_loaders
from ..messages import DataError, error_messages


@HOOKS.register_module()
class CheckDataHook(Hook):
    """Checks data sets and classes before training and testing, and logs what it finds.

    Args:
        stop: Whether an error stops the run; otherwise it is only logged.
    """

    def __init__(self, stop: bool) -> None:
        self.stop = stop

    def before_train(self, runner: Runner) -> None:
        """Check the data of training and validation."""
        loaders = dict(train_dataloader=runner.train_loop.dataloader)
        if runner.val_loop is not None:
            loaders['val_dataloader'] = runner.val_loop.dataloader
        datasets = {name: loader.dataset for name, loader in loaders.items()}
        self.check(runner, datasets)

    def before_test(self, runner: Runner) -> None:
        """Check the data of the test."""
        self.check(runner, dict(test_dataloader=runner.test_loop.dataloader.dataset))

    def check(self, runner: Runner, datasets: dict[str, Any]) -> None:
        """Check the data sets, given by the names of their loaders.

        Raises:
            DataError: In all processes, if the main process found errors and ``stop`` is set.
        """
        errors: list[list[str]] = [[]]
        if is_main_process():
            model = unwrap_model(runner.model)
            findings = check_loaders(datasets, runner.cfg, model)
            for finding in findings:
                runner.logger.log(finding.level, finding.message)
            errors = [error_messages(findings)]
        broadcast_object_list(errors)
        if self.stop and errors[0]:
            raise DataError(*errors[0])


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model without the wrappers of several processes and of test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model
