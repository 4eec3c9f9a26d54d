from operator import attrgetter

import torch
from helpers.tiny import build

from mask_dino.benchmarks import timing as module
from mask_dino.benchmarks.timing import OTHER, Spans
from mask_dino.seg import MaskDINODecodeHead


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


def test_the_watched_parts_of_our_heads_exist():
    others = {'assigner.assign', 'loss_by_feat'}  # of the heads of mmdet
    watched = [path for _, path in module.PATHS if path.split('.')[0] in module.HEADS]
    own = {path.partition('.')[2] for path in watched} - others
    assert {'loss', 'predict', 'pixel_decoder', 'criterion', 'criterion.matcher'} <= own
    head = build().panoptic_head
    assert all(callable(attrgetter(path)(head)) for path in own)
    assert issubclass(MaskDINODecodeHead, type(head))
