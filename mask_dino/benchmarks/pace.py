"""Images a second, one at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice

from mmengine.config import Config
from mmengine.runner import Runner

from .comparison import Spread
from .parts import POSTPROCESSING
from .samples import Load
from .step import TEST, Subject


def made_up(subject: Subject, load: Load) -> Iterator[dict]:
    """Yield batches without end."""
    seed = 0
    while True:
        yield subject.make_batch(load, subject.classes, seed)
        seed += 1


def from_data(config: Config) -> Iterable[dict]:
    """Return the batches of the test data of a config, of one image each."""
    loader = config.test_dataloader
    loader.batch_size = 1
    batches: Iterable[dict] = Runner.build_dataloader(loader, seed=0)
    return batches


def pace(subject: Subject, batches: Iterable[dict], images: int | None, warmup: int) -> dict:
    """Return the seconds of every image but the first ``warmup``, loading aside, and images a second.

    Args:
        images: How many to measure; None for all there are.
    """
    stop = None if images is None else images + warmup
    parts = [subject.clock(TEST, data) for data in islice(batches, stop)][warmup:]
    whole = [sum(one.values()) for one in parts]
    network = [seconds - one.get(POSTPROCESSING, 0.0) for seconds, one in zip(whole, parts, strict=True)]
    if not whole:
        raise ValueError(f'no image is left behind {warmup} images of warming up: lower the one, or add images')
    return dict(
        images=len(whole),
        fps=len(whole) / sum(whole),
        fps_without_postprocessing=len(whole) / sum(network),
        median_seconds=Spread.of(whole).median,
        seconds=whole,
        seconds_without_postprocessing=network,
    )
