"""The arguments of testing, applied to its config."""

from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from .common import UsageError


class Framework(NamedTuple):
    """What draws results."""

    hook: str
    visualizer: str


FRAMEWORKS = {
    'mmdet': Framework('DetVisualizationHook', 'DetLocalVisualizer'),
    'mmseg': Framework('SegVisualizationHook', 'SegLocalVisualizer'),
}


def find_framework(config: Config) -> str:
    """Return the framework of a config, ``mmdet`` or ``mmseg``.

    Raises:
        UsageError: The config names another framework, or none.
    """
    if config.get('default_scope') not in FRAMEWORKS:
        raise UsageError(
            f"the config's default_scope is {config.get('default_scope')}; set it to 'mmdet' or 'mmseg'"
        )
    return config.default_scope


def draw_results(config: Config, show: bool, directory: str | None, wait_time: float) -> None:
    """Show the results of every image in windows, or save them below `directory`, or both.

    Raises:
        UsageError: The config names no framework.
    """
    framework = FRAMEWORKS[find_framework(config)]
    if not config.get('visualizer'):
        config.visualizer = {'type': framework.visualizer, 'name': 'visualizer'}
    hooks = config.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('visualization', ConfigDict(type=framework.hook))
    hook.draw = True
    if show:
        hook.show, hook.wait_time = True, wait_time
    if find_framework(config) == 'mmseg':
        hook.interval = 1
    if directory and find_framework(config) == 'mmseg':
        config.visualizer.save_dir = directory
        config.visualizer.vis_backends = [{'type': 'LocalVisBackend'}]
    elif directory:
        hook.test_out_dir = directory


def save_predictions(config: Config, path: str) -> None:
    """Save the predictions besides evaluating them: mmdet's in a pickle, mmseg's as one PNG of classes per image.

    Raises:
        UsageError: The path does not end with ``.pkl``, under MMDetection.
    """
    evaluator = config.test_evaluator
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    if find_framework(config) == 'mmseg':
        for metric in metrics:
            metric.output_dir, metric.keep_results = path, True
    elif path.endswith(('.pkl', '.pickle')):
        config.test_evaluator = [*metrics, {'type': 'DumpDetResults', 'out_file_path': path}]
    else:
        raise UsageError(
            f'--out {path}: MMDetection saves predictions in a pickle; let the name end with .pkl'
        )


def add_augmentation(config: Config) -> None:
    """Test with test-time augmentation, as the config's `tta_model` and `tta_pipeline` say.

    Raises:
        UsageError: The config has no ``tta_model`` or no ``tta_pipeline``.
    """
    if absent := [name for name in ('tta_model', 'tta_pipeline') if name not in config]:
        raise UsageError(
            f'--tta: the config has no {" and no ".join(absent)}; define what to do for each image there'
        )
    config.model = ConfigDict(**config.tta_model, module=config.model)
    dataset = config.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = config.tta_pipeline
