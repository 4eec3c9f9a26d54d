"""The figures of an exported file on the test data of a config."""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import METRICS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmengine.utils import track_iter_progress
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from ..evaluation.panoptic import PanopticQualityMetric, StuffAPMetric
from ..evaluation.semantic import PanopticIoUMetric
from ..runtime import Result, Segmenter
from .formats import SUFFIXES, OpenVINONetwork, open_network
from .packages import ExportError


def open_model(path: Path, threads: int | None, precision: str) -> Segmenter:
    """Open an exported file of any format.

    Args:
        precision: Of OpenVINO's computation, ``f32`` or ``bf16``; the other formats have float32 only.

    Raises:
        ExportError: If no format has this suffix, or if the format does not have this precision.
        ModelFileError: If the file is missing, damaged, another program's, or was exported with raw outputs.
    """
    formats = {suffix: name for name, suffix in SUFFIXES.items()}
    if path.suffix not in formats:
        raise ExportError(f'{path}: exported files end in {", ".join(formats)}')
    if path.suffix == SUFFIXES['openvino']:
        return Segmenter(OpenVINONetwork(path, threads, precision))
    if precision != 'f32':
        raise ExportError(f'{path}: only OpenVINO has --precision {precision}; leave it out')
    return Segmenter(open_network(path, formats[path.suffix], threads))


def evaluate_file(segmenter: Segmenter, config: Config) -> dict[str, float]:
    """Return the figures of an exported model, computed by ``test_evaluator`` of a config on ``test_dataloader``.

    Images are read and prepared by the runtime, annotations by the config's pipeline.

    Raises:
        ExportError: If file and data have different classes, or if the file makes nothing that is evaluated.
    """
    init_default_scope(config.default_scope)
    loader = Runner.build_dataloader(config.test_dataloader)
    check_classes(segmenter.info.classes, loader.dataset.metainfo['classes'])
    evaluator = Evaluator(suitable_metrics(config.test_evaluator, segmenter.info.tasks))
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in track_iter_progress((loader, len(loader))):
        samples = batch['data_samples']
        for sample in samples:
            add_result(sample, segmenter(sample.img_path))
        evaluator.process(samples, batch)
    figures: dict[str, float] = evaluator.evaluate(len(loader.dataset))
    return figures


def check_classes(classes: Sequence[str], names: Sequence[str]) -> None:
    """Compare the classes of a file with the classes of the data; the errors are those of :func:`evaluate_file`."""
    if tuple(names) != tuple(classes):
        raise ExportError(
            f'the file was exported for the classes {", ".join(classes)}, but the test data have '
            f'{", ".join(names)}: give the config that the file was exported with'
        )


def suitable_metrics(
    settings: ConfigDict | list[ConfigDict], tasks: Sequence[str]
) -> list[BaseMetric]:
    """Build the metrics of a config that a file for these tasks has results for, and name the others.

    Raises:
        ExportError: No metric of the config evaluates what the file makes.
    """
    every = settings if isinstance(settings, list) else [settings]
    metrics = [METRICS.build(setting) for setting in every]
    suitable = [metric for metric in metrics if has_results(metric, tasks)]
    for metric in metrics:
        if metric not in suitable:
            print(f'{type(metric).__name__} is left out: the file makes no such results')
    if not suitable:
        raise ExportError(
            f'test_evaluator has no metric for {", ".join(tasks)}, which the file makes'
        )
    return suitable


def has_results(metric: BaseMetric, tasks: Sequence[str]) -> bool:
    """Tell whether a file for these tasks has what a metric evaluates."""
    if isinstance(metric, StuffAPMetric):  # instances of stuff are not exported
        return False
    if isinstance(metric, PanopticQualityMetric):
        return 'panoptic' in tasks
    if isinstance(metric, (PanopticIoUMetric, IoUMetric)):
        return 'semantic' in tasks
    return 'instance' in tasks or 'detection' in tasks


def add_result(sample: BaseDataElement, result: Result) -> None:
    """Write a result of the runtime into a data sample, as the model itself would."""
    if isinstance(sample, SegDataSample):
        assert result.semantic is not None
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(result.semantic)[None])
        return
    if result.boxes is not None:
        sample.pred_instances = _instances(result)
    if result.panoptic is not None:
        sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(result.panoptic)[None])
    if result.semantic is not None:
        sample.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(result.semantic)[None])


def _instances(result: Result) -> InstanceData:
    instances = InstanceData(
        bboxes=torch.from_numpy(result.boxes),
        scores=torch.from_numpy(result.scores),
        labels=torch.from_numpy(result.labels),
    )
    if result.masks is not None:
        instances.masks = torch.from_numpy(result.masks)
    return instances
