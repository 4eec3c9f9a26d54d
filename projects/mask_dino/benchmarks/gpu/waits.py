"""Where a step waits for the device, and what the device does meanwhile."""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import DeviceType, ProfilerActivity, profile

from gpu.speed import Variant, build_subject, running_as
from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.step import TEST, TRAIN, Subject

NUM_KERNELS = 30


def wait_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the lines at which a step waits, then the kernels that take most time."""
    loads = {TRAIN: Load(1024, 1024, 10, 2), TEST: Load(800, 1333, 10, 1)}
    if small:
        loads = {mode: Load(64, 96, 3, load.batch) for mode, load in loads.items()}
    variant = Variant('bf16')
    with running_as(variant):
        subject = build_subject(variant, 'instance', device, small)
        for mode, load in loads.items():
            data = subject.make_batch(load, subject.classes, 0)
            subject.peak(mode, load, 0)  # warms up
            yield from list_waits(subject, mode, data)
            yield from profile_step(subject, mode, data)


def list_waits(subject: Subject, mode: str, data: dict) -> Iterator[dict]:
    """Yield how often a step waits, in all and at each line."""
    places = find_waits(subject, mode, data)
    yield dict(mode=mode, place='all', count=places.total())
    for place, count in places.most_common():
        yield dict(mode=mode, place=place, count=count)


def find_waits(subject: Subject, mode: str, data: dict) -> Counter[str]:
    """Return how often each line of Python waits for the device in one step; a CPU is never waited for."""
    if subject.device.type != 'cuda':
        return Counter()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        subject.step(mode, data)
        torch.cuda.set_sync_debug_mode('default')
    waits = [entry for entry in caught if 'synchronizing' in str(entry.message)]
    return Counter(f'{"/".join(Path(entry.filename).parts[-3:])}:{entry.lineno}' for entry in waits)


def profile_step(subject: Subject, mode: str, data: dict) -> Iterator[dict]:
    """Yield the operations that take most time of the device, or of the CPU where it is the device."""
    activities = [ProfilerActivity.CPU]
    if subject.device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        subject.step(mode, data)
    events = profiler.key_averages()
    if subject.device.type == 'cuda':
        events = [event for event in events if event.device_type == DeviceType.CUDA]
        times = {event.key: event.self_device_time_total for event in events}
    else:
        times = {event.key: event.self_cpu_time_total for event in events}
    counts = {event.key: event.count for event in events}
    yield dict(mode=mode, place='time of all kernels', milliseconds=sum(times.values()) / 1e3)
    for name in sorted(times, key=lambda name: -times[name])[:NUM_KERNELS]:
        yield dict(mode=mode, place=name[:90], count=counts[name], milliseconds=times[name] / 1e3)
