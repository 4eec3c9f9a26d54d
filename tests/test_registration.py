"""Each shell registers all parts that its configs name, itself: not because something else happens to import them."""

import subprocess
import sys

import pytest

# A stand-in for the hooks and metrics, which import much of the package themselves.
CODE = """
import sys
import types
for name in {hidden!r}:
    sys.modules[name] = types.ModuleType(name)
import mask_dino.{shell}
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, TRANSFORMS, VISUALIZERS, init_default_scope
config = Config.fromfile('configs/maskdino/{config}.py', import_custom_modules=False)
init_default_scope(config.default_scope)
def find(registry, name):
    with registry.switch_scope_and_registry(None) as own:
        return own.get(name)
MODELS.build(config.model)
for loader in (config.train_dataloader, config.val_dataloader):
    assert find(DATASETS, loader.dataset.type), loader.dataset.type
    for transform in loader.dataset.pipeline:
        TRANSFORMS.build(transform)
assert find(VISUALIZERS, config.visualizer.type)
assert find(OPTIM_WRAPPER_CONSTRUCTORS, config.optim_wrapper.constructor)
print('registered')
"""


@pytest.mark.parametrize(
    ('shell', 'config', 'hidden'),
    [
        ('det', 'maskdino_tiny_shapes', ['mask_dino.hooks', 'mask_dino.evaluation']),
        ('det', 'maskdino_tiny_shapes-panoptic', ['mask_dino.hooks', 'mask_dino.evaluation']),
        ('seg', 'maskdino_tiny_shapes-semantic', ['mask_dino.hooks', 'mask_dino.det']),
    ],
)
def test_a_shell_registers_its_parts_without_the_imports_of_its_hooks(shell, config, hidden):
    code = CODE.format(shell=shell, config=config, hidden=hidden)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['registered'], done.stderr[-2000:]
