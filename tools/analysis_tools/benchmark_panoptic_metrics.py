"""Measure how many generated images of COCO's size the panoptic metrics evaluate per second in one process."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmdet.datasets import CocoPanopticDataset
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mask_dino.cli.help import make_parser, positive
from mask_dino.datasets.panoptic_png import write_ids
from mask_dino.evaluation import PanopticIoUMetric, PanopticQualityMetric

META = CocoPanopticDataset.METAINFO
CLASSES, THINGS = META['classes'], META['thing_classes']
SIZE = (480, 640)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_panoptic_metrics.py --images 200',
    )
    parser.add_argument(
        '--images',
        type=positive,
        default=200,
        help='images to make and evaluate (default: %(default)s)',
    )
    parser.add_argument(
        '--segments', type=positive, default=15, help='segments of an image (default: %(default)s)'
    )
    args = parser.parse_args()
    if args.segments > len(CLASSES):
        parser.error(f'--segments {args.segments}: give {len(CLASSES)} or less, one for each class')
    return args


def draw_segments(rng: np.random.Generator, segments: int) -> np.ndarray:
    """Return a map (H, W) of segment numbers from 1: every pixel belongs to the nearest of some random points."""
    points = rng.uniform((0, 0), SIZE, size=(segments, 2))
    # Draw at a quarter of the resolution, which is faster, and enlarge.
    height, width = SIZE
    ys = np.arange(0, height, 4)[:, None]
    xs = np.arange(0, width, 4)
    point_ys = points[:, 0, None, None]
    point_xs = points[:, 1, None, None]
    distances = (ys - point_ys) ** 2 + (xs - point_xs) ** 2  # (segments, H / 4, W / 4)
    coarse = distances.argmin(0) + 1
    return np.kron(coarse, np.ones((4, 4), int))


def write_images(folder: Path, images: int, segments: int) -> list[dict]:
    """Write ground truth and return predictions that differ from it a little."""
    rng = np.random.default_rng(0)
    annotations, samples = [], []
    for image in range(images):
        pixels = draw_segments(rng, segments)
        labels = rng.permutation(len(CLASSES))[:segments]
        write_ids(folder / f'{image}.png', pixels * 70_001)
        infos = [
            dict(id=number * 70_001, category_id=int(label), iscrowd=0, bbox=[0, 0, 1, 1])
            for number, label in enumerate(labels, start=1)
            if (pixels == number).any()
        ]
        annotations.append(dict(image_id=image, file_name=f'{image}.png', segments_info=infos))
        things = labels < len(THINGS)
        values = labels + INSTANCE_OFFSET * np.arange(1, segments + 1) * things
        shifted = torch.from_numpy(np.roll(pixels, 5, 1) - 1)
        maps = dict(
            pred_panoptic_seg=torch.from_numpy(values)[shifted],
            pred_sem_seg=torch.from_numpy(labels)[shifted],
        )
        samples.append(
            dict(img_id=image) | {name: dict(sem_seg=value[None]) for name, value in maps.items()}
        )
    image_infos = [
        dict(id=i, file_name=f'{i}.jpg', height=SIZE[0], width=SIZE[1]) for i in range(images)
    ]
    categories = [
        dict(id=i, name=name, isthing=int(name in THINGS)) for i, name in enumerate(CLASSES)
    ]
    content = dict(images=image_infos, annotations=annotations, categories=categories)
    (folder / 'panoptic.json').write_text(json.dumps(content))
    return samples


def main() -> None:
    """Time the metrics on generated images and print their speed."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = write_images(Path(folder), args.images, args.segments)
        files = dict(ann_file=f'{folder}/panoptic.json', seg_prefix=folder)
        metrics = [PanopticQualityMetric(**files), PanopticIoUMetric(**files)]
        for count in (1, 2):
            seconds = time_metrics(metrics[:count], samples)
            names = ' and '.join(type(metric).__name__ for metric in metrics[:count])
            size = f'{SIZE[1]} x {SIZE[0]}, {args.segments} segments'
            print(f'{names}: {args.images / seconds:.0f} images per second ({size})')


def time_metrics(metrics: list, samples: list[dict]) -> float:
    """Return the seconds that metrics need for all images, including the time to read the ground truth."""
    start = time.perf_counter()
    for metric in metrics:
        metric.dataset_meta = META
    for sample in samples:
        for metric in metrics:
            metric.process(None, [sample])
    for metric in metrics:
        metric.evaluate(len(samples))
    return time.perf_counter() - start


if __name__ == '__main__':
    main()
