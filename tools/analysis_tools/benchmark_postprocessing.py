"""Compare post-processing with Mask2Former of mmdet and mmseg, in time and memory, on the same generated predictions.

Their figures include the enlargement of the masks to the size of the input, which their heads do before. mmdet has no
semantic results; they are computed here as mmseg computes them.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from torch import Tensor

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import save, step_tables
from mask_dino.benchmarks.step import keep_as_usual, peak_memory
from mask_dino.benchmarks.timing import Spans
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError
from mask_dino.cli.help import make_parser, natural, positive, size
from mask_dino.det.fusion_head import MaskDINOFusionHead
from mask_dino.structures import QueryPredictions

THINGS, STUFF = 80, 53
KINDS = ('instance', 'panoptic', 'semantic')


class Generated(NamedTuple):
    """One set of predictions in two forms: a sigmoid for each class, or a softmax with a class "no object"."""

    predictions: QueryPredictions
    softmax_logits: Tensor  # (1, Q, classes + 1)
    sample: DetDataSample


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_postprocessing.py --size 800x1333 --rounds 5',
    )
    parser.add_argument(
        '--size',
        type=size,
        default=(800, 1333),
        help='size of the image (default: 800x1333)',
    )
    parser.add_argument(
        '--queries', type=positive, default=300, help='number of queries (default: 300)'
    )
    parser.add_argument(
        '--found',
        type=natural,
        default=100,
        help='queries with a high score (default: 100)',
    )
    parser.add_argument(
        '--rounds', type=positive, default=5, help='how often each is timed (default: 5)'
    )
    benchmarks.add_arguments(parser)
    return parser


def generate_predictions(load: Load, queries: int, device: torch.device) -> Generated:
    """Return predictions with random masks; as many as there are objects have a high class score."""
    generator = torch.Generator().manual_seed(0)
    padded_size = tuple(math.ceil(side / 32) * 32 for side in (load.height, load.width))
    coarse = torch.randn(1, queries, 8, 8, generator=generator) * 4 - 4
    masks = F.interpolate(coarse, [side // 4 for side in padded_size], mode='bicubic')
    boxes = torch.rand(1, queries, 4, generator=generator)
    boxes = boxes / 2 + 0.1
    no_object = THINGS + STUFF
    labels = torch.randint(no_object, (queries,), generator=generator)
    labels[load.objects :] = no_object
    one_hot = F.one_hot(labels, no_object + 1).float()[None]  # (1, Q, classes + 1)
    sigmoid_logits = one_hot[..., :-1] * 8 - 5
    softmax_logits = one_hot * 10
    image_size = (load.height, load.width)
    sizes = dict(img_shape=image_size, ori_shape=image_size, batch_input_shape=padded_size)
    predictions = QueryPredictions(sigmoid_logits.to(device), boxes.to(device), masks.to(device))
    return Generated(predictions, softmax_logits.to(device), DetDataSample(metainfo=sizes))


def run_maskdino(kind: str, generated: Generated) -> None:
    """Make results of one kind."""
    model = Config.fromfile('configs/_base_/models/maskdino_r50.py').model
    switches = {f'{name}_on': name == kind for name in KINDS}
    classes = dict(num_things_classes=THINGS, num_stuff_classes=STUFF)
    head: MaskDINOFusionHead = MODELS.build(
        model.panoptic_fusion_head | classes | dict(test_cfg=ConfigDict(model.test_cfg | switches))
    )
    head.predict(generated.predictions, [generated.sample])


def run_mask2former(kind: str, generated: Generated) -> None:
    """Make the same results as mmdet and mmseg do, from enlarged masks of all queries."""
    sample, masks = generated.sample, generated.predictions.masks
    enlarged = F.interpolate(masks, sample.batch_input_shape, mode='bilinear', align_corners=False)
    if kind != 'semantic':
        cfg = ConfigDict(
            panoptic_on=kind == 'panoptic', instance_on=kind == 'instance', max_per_image=100
        )
        cfg.update(object_mask_thr=0.8, iou_thr=0.8, filter_low_score=True)
        head = MaskFormerFusionHead(THINGS, STUFF, test_cfg=cfg)
        head.predict(generated.softmax_logits, enlarged, [sample], rescale=True)
        return
    height, width = sample.img_shape
    resized = F.interpolate(
        enlarged[..., :height, :width], sample.ori_shape, mode='bilinear', align_corners=False
    )
    classes = generated.softmax_logits.softmax(-1)[..., :-1]
    torch.einsum('bqc,bqhw->bchw', classes, resized.sigmoid()).argmax(1)


@torch.no_grad()
def measure_memory(run: Callable[[], None], device: torch.device) -> int | None:
    """Return the peak memory in bytes."""
    with peak_memory(device) as memory:
        run()
    return memory.value


@torch.no_grad()
def measure_time(run: Callable[[], None], device: torch.device) -> float:
    """Return the time."""
    spans = Spans(device)
    with spans.part('post-processing'):
        run()
    return sum(spans.seconds().values())


def main() -> None:
    """Measure and print the tables."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        device = benchmarks.prepare_torch(args)
    except UsageError as error:
        parser.error(str(error))
    load = Load(*args.size, args.found, 1)
    generated = generate_predictions(load, args.queries, device)
    models = dict(ours=run_maskdino, theirs=run_mask2former)
    runs = {
        (kind, model): partial(run, kind, generated)
        for kind in KINDS
        for model, run in models.items()
    }
    memory = {name: measure_memory(run, device) for name, run in runs.items()}
    keep_as_usual()
    times = [
        {name: measure_time(run, device) for name, run in runs.items()} for _ in range(args.rounds)
    ]
    records = [
        dict(model=model, mode=kind, **load._asdict(), parts={}, memory=memory[kind, model])
        | dict(seconds=[turn[kind, model] for turn in times])
        for kind, model in runs
    ]
    print('\n\n'.join(step_tables(records)))
    if args.out:
        save(args.out, device, records)


if __name__ == '__main__':
    main()
