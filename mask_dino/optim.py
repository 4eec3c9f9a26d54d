"""The parameter-wise settings of the published recipes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmengine.runner import autocast
from mmengine.utils import digit_version
from torch import Tensor, nn

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)
POSITIONS = ('relative_position_bias_table', 'absolute_pos_embed')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MaskDINOOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with no weight decay on norms, embeddings and positional parameters, as published.

    A config then needs no list of such parameters, which differ from backbone to backbone. ``custom_keys`` decides on
    the learning rate as usual, and a key that sets ``decay_mult`` itself stays in force. Parameters of equal settings
    form one group. mmengine makes one group for each parameter, which costs a small model a tenth of a step.

    Adam and AdamW are fused where torch can do so, which takes half the time on a CPU. ``optimizer.fused=False`` in the
    config turns it off.
    """

    optimizer_cfg: dict

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser of ``model``."""
        keys = self.paramwise_cfg.setdefault('custom_keys', {})
        longest_first = sorted(keys, key=lambda key: (-len(key), key))  # as mmengine looks for them
        for name, _ in list(model.named_parameters()):
            key = next((key for key in longest_first if key in name), None)
            own = dict(keys[key]) if key else {}
            if 'decay_mult' not in own and has_no_decay(model, name):
                keys[name] = own | dict(decay_mult=0.0)
        if can_be_fused(self.optimizer_cfg, model):
            self.optimizer_cfg = self.optimizer_cfg | dict(fused=True)
        wrapper: OptimWrapper = super().__call__(model)
        # The optimiser reads the settings for every parameter, and mmengine's ConfigDict is slow to read.
        groups = wrapper.optimizer.param_groups
        groups[:] = [dict(group.items()) for group in groups]
        return wrapper

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Append the groups of the parameters of a module; mmengine's arguments."""
        super().add_params(params, module, prefix, is_dcn_module)
        is_whole_model = not prefix
        if is_whole_model:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict]) -> list[dict]:
    """Join groups of parameters with equal settings, in the order of their first parameters."""
    all_settings: list[dict] = []
    parameters: list[list[nn.Parameter]] = []  # for each of the settings
    for group in groups:
        settings = {name: value for name, value in group.items() if name != 'params'}
        if settings not in all_settings:
            all_settings.append(settings)
            parameters.append([])
        index = all_settings.index(settings)
        parameters[index] += group['params']
    return [
        settings | dict(params=params)
        for settings, params in zip(all_settings, parameters, strict=True)
    ]


def can_be_fused(optimizer: dict, model: nn.Module) -> bool:
    """Return whether torch has a fused form of an optimiser, and its config says nothing about it."""
    if optimizer.get('type') not in ('Adam', 'AdamW') or {'fused', 'foreach'} & set(optimizer):
        return False
    devices = {parameter.device.type for parameter in model.parameters()}
    fused_on_cpu = digit_version(torch.__version__) >= digit_version('2.4')
    return devices == {'cuda'} or (devices == {'cpu'} and fused_on_cpu)


def has_no_decay(model: nn.Module, name: str) -> bool:
    """Return whether the published recipes leave a parameter out of weight decay."""
    owner, _, parameter = name.rpartition('.')
    module = model.get_submodule(owner)
    return isinstance(module, (*NORMS, nn.Embedding)) or parameter in POSITIONS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Trains in bfloat16 on any device: mmengine's AmpOptimWrapper, which also scales losses, insists on a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def require_float32(convert: Callable[[Tensor], Tensor], model: str) -> None:
    """Refuse to convert a model to another precision.

    Boxes, matching and losses need float32, and MMDetection's preprocessor delivers float32 images.

    Args:
        convert: What ``module._apply`` is given by ``half()``, ``bfloat16()``, ``double()`` and ``to()``.
        model: The name of the model for the message.

    Raises:
        TypeError: If ``convert`` changes the precision of a float32 tensor.
    """
    dtype = convert(torch.zeros(1)).dtype
    if dtype != torch.float32:
        raise TypeError(
            f'{model} stays in float32 and cannot be converted to {dtype}. For a lower precision, run it under '
            "torch.autocast(device, dtype=torch.bfloat16), or train with --amp or optim_wrapper.type='AmpOptimWrapper'"
        )
