"""Time and memory of training and inference steps, for precisions and options."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

import torch
from mmengine.config import Config

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import Case, Spread, measure
from mask_dino.benchmarks.step import TEST, TRAIN, Subject
from mask_dino.benchmarks.timing import POSTPROCESSING

CONFIGS = dict(
    instance='configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py',
    panoptic='configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco-panoptic.py',
)
SMALL = dict(
    instance='configs/maskdino/maskdino_tiny_shapes.py',
    panoptic='configs/maskdino/maskdino_tiny_shapes-panoptic.py',
)
DTYPES = dict(fp16=torch.float16, bf16=torch.bfloat16)
ROUNDS = 10


class Variant(NamedTuple):
    """How a model is run."""

    precision: str = 'bf16'  # float32, tf32, fp16 or bf16
    checkpointing: bool = False
    portable: bool = False  # without mmcv's kernel
    compiled: bool = False

    def __str__(self) -> str:
        options = [
            name for name in ('checkpointing', 'portable', 'compiled') if getattr(self, name)
        ]
        return ', '.join((self.precision, *options))


TRAINED = [
    Variant('bf16'),
    Variant('float32'),
    Variant('tf32'),
    Variant('fp16'),
    Variant('bf16', checkpointing=True),
    Variant('bf16', portable=True),
]
TESTED = [Variant('float32'), Variant('tf32'), Variant('fp16'), Variant('bf16')]


def step_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the time and memory of training steps with two images."""
    load = Load(64, 96, 3, 2) if small else Load(1024, 1024, 10, 2)
    for variant in TRAINED[:1] if small else TRAINED:
        yield measure_variant(variant, 'instance', TRAIN, load, device, small)


def inference_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the time of inference of one image, with and without post-processing."""
    load = Load(64, 96, 3, 1) if small else Load(800, 1333, 10, 1)
    for task in CONFIGS:
        for variant in TESTED[:1] if small else TESTED:
            yield measure_variant(variant, task, TEST, load, device, small)


def compile_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the same of steps whose encoder and decoder layers are compiled."""
    train = Load(64, 96, 3, 2) if small else Load(1024, 1024, 10, 2)
    test = Load(64, 96, 3, 1) if small else Load(800, 1333, 10, 1)
    variant = Variant('bf16', compiled=not small)  # a dry run needs no compiler
    yield measure_variant(variant, 'instance', TEST, test, device, small)
    yield measure_variant(variant, 'instance', TRAIN, train, device, small)


def measure_variant(
    variant: Variant, task: str, mode: str, load: Load, device: torch.device, small: bool
) -> dict:
    """Return the row of one variant of a task's model; no other model is in memory meanwhile."""
    with running_as(variant):
        subject = build_subject(variant, task, device, small)
        case = Case(str(variant), mode, load)
        [result] = measure({case.model: subject}, [case], 2 if small else ROUNDS)
    record = result.record()
    seconds = Spread.summarise(record['seconds'])
    row = dict(task=task, mode=mode, variant=str(variant), input=str(load))
    row |= dict(seconds=seconds.median, deviation=seconds.deviation)
    row |= {
        f'{name} s': Spread.summarise(values).median for name, values in record['parts'].items()
    }
    if mode == TEST:
        row |= {'s without post-processing': seconds.median - row[f'{POSTPROCESSING} s']}
    row |= {'images / s': load.batch / seconds.median, 'peak MB': (result.memory or 0) / 2**20}
    return row


@contextmanager
def running_as(variant: Variant) -> Iterator[None]:
    """Set what is set for the whole process, and put it back."""
    allow_tf32(variant.precision == 'tf32')
    try:
        if not variant.portable:
            yield
            return
        with patch('mask_dino.ops.deformable_attention.has_kernel', lambda device: False):
            yield
    finally:
        allow_tf32(False)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def build_subject(variant: Variant, task: str, device: torch.device, small: bool) -> Subject:
    """Return the model of a task with its optimiser."""
    config = Config.fromfile((SMALL if small else CONFIGS)[task])
    if variant.checkpointing:
        head = dict(pixel_decoder=dict(with_cp=True), decoder=dict(with_cp=True))
        config.merge_from_dict(dict(model=dict(backbone=dict(with_cp=True), panoptic_head=head)))
    config.compile = variant.compiled
    amp = variant.precision if variant.precision in DTYPES else None
    return Subject(config, device, amp)


def allow_tf32(allowed: bool) -> None:
    """Let float32 products and convolutions on a GPU round their factors to 10 bits, or not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
