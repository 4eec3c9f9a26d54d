"""One training or inference step of any model of mmdet or mmseg, measured: its time and its peak memory."""

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import autocast

from ..checkpoints.io import build_model
from ..ops.transformer_layers import compile_layers
from ..optim import BFloat16OptimWrapper
from .inputs import ClassCounts, Load, detection_batch, segmentation_batch
from .timing import OTHER, Spans, watched

TRAIN, TEST = 'train', 'test'
AMP_TYPES = dict(bf16=torch.bfloat16, fp16=torch.float16)


class Subject:
    """A model and its optimiser, as its config builds them, with random weights.

    Args:
        config: Whole config of an experiment.
        device: Where the model lives.
        amp: ``bf16`` or ``fp16`` for mixed precision.

    Raises:
        CheckpointError: The config has no model.
        DataError: ``compile`` of the config cannot be used.
    """

    def __init__(self, config: Config, device: torch.device, amp: str | None = None) -> None:
        _forget_downloads(config.model)
        torch.manual_seed(0)
        model: BaseModel = build_model(config)
        model.init_weights()
        self.model = model.to(device)
        if options := config.get('compile'):
            compile_layers(self.model, {} if options is True else options)
        self.device = device
        self.amp = amp
        self.optim_wrapper = _optim_wrapper(config, model, device, amp)
        self.classes = ClassCounts.from_config(config.model)
        self.trained = False
        self.make_batch: Callable[[Load, ClassCounts, int], dict] = (
            segmentation_batch if config.get('default_scope') == 'mmseg' else detection_batch
        )

    def time(self, mode: str, load: Load, seed: int) -> dict[str, float]:
        """Return the seconds of each part of a step, ``train`` or ``test``.

        Equal seeds give equal images, objects and random points.
        """
        data = self.make_batch(load, self.classes, seed)
        torch.manual_seed(seed)
        return self.clock(mode, data)

    def clock(self, mode: str, data: dict) -> dict[str, float]:
        """Return the seconds of each part of a step on a batch."""
        spans = Spans(self.device)
        timed = watched(self.model, self.optim_wrapper, spans)
        with timed, spans.part(OTHER):
            self.step(mode, data)
        return spans.seconds()

    def peak(self, mode: str, load: Load, seed: int) -> int | None:
        """Return the peak memory of a step in bytes, above what was in use before; None where it is not known."""
        # What the optimiser keeps belongs to what is in use.
        if mode == TRAIN and not self.trained:
            self.train(self.make_batch(Load(128, 128, 1, load.batch), self.classes, seed))
            self.trained = True
        data = self.make_batch(load, self.classes, seed)
        torch.manual_seed(seed)
        with peak_memory(self.device) as peak:
            self.step(mode, data)
        return peak.value

    def step(self, mode: str, data: dict) -> None:
        """Make a step, ``train`` or ``test``."""
        if mode == TRAIN:
            self.train(data)
        else:
            self.test(data)

    def train(self, data: dict) -> None:
        """Train on a batch."""
        self.model.train()
        self.model.train_step(data, self.optim_wrapper)

    def test(self, data: dict) -> None:
        """Predict a batch, post-processing included."""
        self.model.eval()
        context: AbstractContextManager = (
            autocast(dtype=AMP_TYPES[self.amp]) if self.amp else nullcontext()
        )
        with torch.no_grad(), context:
            self.model.test_step(data)


def _optim_wrapper(
    config: Config, model: BaseModel, device: torch.device, amp: str | None
) -> OptimWrapper:
    settings = dict(
        config.get('optim_wrapper')
        or dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
    )
    if amp and device.type == 'cpu':
        settings['type'] = BFloat16OptimWrapper.__name__
    elif amp:
        settings['type'] = 'AmpOptimWrapper'
        settings['dtype'] = dict(bf16='bfloat16', fp16='float16')[amp]
    return build_optim_wrapper(model, settings)


def _forget_downloads(model: dict) -> None:
    """Drop pre-trained weights from a config: speed does not depend on them."""
    for name, value in list(model.items()):
        if isinstance(value, dict) and 'checkpoint' in value:
            model[name] = None
        elif isinstance(value, dict):
            _forget_downloads(value)


CLEAR, STATUS = Path('/proc/self/clear_refs'), Path('/proc/self/status')
RESET_PEAK = '5'  # see proc(5)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, PAGES, USUAL = -1, -3, 2**16, 2**25  # see mallopt(3)


class Peak:
    """Bytes at the peak; None until they are measured, and on CPUs outside Linux."""

    value: int | None = None


def keep_nothing() -> None:
    """Make glibc return freed memory immediately, so that peaks are comparable.

    Call it at the start of a process, before memory is fragmented. It costs time.
    """
    _glibc('mallopt', M_MMAP_THRESHOLD, PAGES)


def keep_as_usual() -> None:
    """Undo :func:`keep_nothing`: keep what glibc does in a process that has had large tensors."""
    _glibc('mallopt', M_MMAP_THRESHOLD, USUAL)
    _glibc('mallopt', M_TRIM_THRESHOLD, 2 * USUAL)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of what happens inside.

    On a GPU it is what torch allocated. On a CPU it is what the process held in memory, as Linux counts it itself, so
    that temporary buffers of every library are included; see :func:`keep_nothing`.
    """
    gc.collect()
    peak = Peak()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.value = torch.cuda.max_memory_allocated(device) - before
    elif not CLEAR.exists():
        yield peak
    else:
        _glibc('malloc_trim', 0)
        CLEAR.write_text(RESET_PEAK)
        before = _status('VmRSS')
        yield peak
        peak.value = _status('VmHWM') - before


def _status(name: str) -> int:
    entry = re.search(rf'^{name}:\s+(\d+) kB$', STATUS.read_text(), re.MULTILINE)
    assert entry, f'{STATUS} has no {name}'
    return int(entry[1]) * 1024


def _glibc(function: str, *arguments: int) -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, function):  # other C libraries keep less by themselves
        getattr(library, function)(*arguments)
