import torch

from mask_dino.benchmarks import timing as module
from mask_dino.benchmarks.timing import OTHER, Spans


def test_every_moment_belongs_to_the_innermost_part(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0, 21.0, 28.0])
    monkeypatch.setattr(module.time, 'perf_counter', lambda: next(now))
    spans = Spans(torch.device('cpu'))
    with spans.part(OTHER):  # 0
        with spans.part('a'), spans.part('b'):  # 1, 3
            pass  # 6
        # 10
        with spans.part('b'):  # 15
            pass  # 21
    # 28
    assert spans.seconds() == {OTHER: 1.0 + 5.0 + 7.0, 'a': 2.0 + 4.0, 'b': 3.0 + 6.0}


def test_a_part_ends_with_an_error():
    spans = Spans(torch.device('cpu'))
    try:
        with spans.part('a'):
            raise KeyError
    except KeyError:
        pass
    assert spans.running == []
    assert list(spans.seconds()) == ['a']
