"""Measure time and memory of loading and checking a made-up annotation file of any size, also in loader processes."""

import argparse
import json
import multiprocessing
import os
import re
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset

import mask_dino.det  # noqa: F401  registers the data set
from mask_dino.cli.help import make_parser, natural, positive
from mask_dino.datasets.coco import check_annotation_file

WIDTH, HEIGHT = 640, 480
CLASSES = tuple(f'class {number}' for number in range(80))
PIPELINE = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_annotations.py --images 60000 --workers 4',
    )
    parser.add_argument(
        '--images', type=positive, default=60_000, help='number of images (default: %(default)s)'
    )
    parser.add_argument(
        '--objects', type=positive, default=8, help='objects of an image (default: %(default)s)'
    )
    parser.add_argument(
        '--points', type=positive, default=25, help='points of a polygon (default: %(default)s)'
    )
    kinds = ['CheckedCocoDataset', 'CocoDataset']
    parser.add_argument(
        '--dataset',
        choices=kinds,
        default=kinds[0],
        help='our data set, or the one of mmdet (default: %(default)s)',
    )
    parser.add_argument('--boxes', action='store_true', help='leave the polygons out')
    parser.add_argument(
        '--workers', type=natural, default=0, help='loader processes to measure (default: 0)'
    )
    return parser


def make_annotations(args: argparse.Namespace) -> Iterator[dict]:
    """Yield the objects of all images: circles of random size and place."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, args.points, endpoint=False)
    circle = np.stack((np.cos(angles), np.sin(angles)), 1)
    for number in range(args.images * args.objects):
        radius = rng.uniform(5, 100)
        center = rng.uniform(radius, (WIDTH - radius, HEIGHT - radius))
        x, y = (center - radius).round(2).tolist()
        side = round(2 * radius, 2)
        polygon = (center + circle * radius).round(2).ravel().tolist()
        mask = {} if args.boxes else dict(segmentation=[polygon])
        yield dict(
            id=number,
            image_id=number // args.objects,
            category_id=number % len(CLASSES),
            bbox=[x, y, side, side],
            area=side * side,
            iscrowd=0,
            **mask,
        )


def write_annotations(path: Path, args: argparse.Namespace) -> None:
    """Write the file object by object, which takes no memory that would be measured."""
    images = [
        dict(id=number, file_name=f'{number}.jpg', width=WIDTH, height=HEIGHT)
        for number in range(args.images)
    ]
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES)]
    with path.open('w') as file:
        file.write(
            json.dumps(dict(images=images, categories=categories))[:-1] + ', "annotations": ['
        )
        for number, annotation in enumerate(make_annotations(args)):
            file.write((', ' if number else '') + json.dumps(annotation))
        file.write(']}')


def peak_gigabytes() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def proportional_gigabytes(process: int) -> float:
    """Return the memory of a process (PSS): memory that n processes share counts 1 / n for each of them."""
    entries = Path(f'/proc/{process}/smaps_rollup').read_text()
    [kilobytes] = re.findall(r'^Pss: +(\d+) kB$', entries, re.MULTILINE)
    return int(kilobytes) / 2**20


class Annotations(Dataset):
    """The annotations of a data set, without its images, which do not exist."""

    def __init__(self, dataset: BaseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        info: dict = self.dataset.get_data_info(index)
        return info


def measure_workers(dataset: BaseDataset, num_workers: int) -> tuple[float, float]:
    """Return the memory of this process before there are workers, and of all processes after 100 batches each."""
    before = proportional_gigabytes(os.getpid())
    loader = DataLoader(
        Annotations(dataset),
        batch_size=4,
        shuffle=True,
        num_workers=num_workers,
        collate_fn=len,
        persistent_workers=True,
    )
    batches = iter(loader)
    for _ in range(min(len(loader), 100 * num_workers)):
        next(batches)
    processes = [os.getpid(), *(process.pid for process in multiprocessing.active_children())]
    return before, sum(map(proportional_gigabytes, processes))


def main() -> None:
    """Measure in a temporary folder."""
    args = build_parser().parse_args()
    init_default_scope('mmdet')
    pipeline = [PIPELINE[0] | dict(with_mask=not args.boxes)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'instances.json'
        write_annotations(path, args)
        config = dict(
            type=args.dataset,
            ann_file=str(path),
            data_prefix=dict(img=''),
            metainfo=dict(classes=CLASSES),
            pipeline=pipeline,
        )
        before, start = peak_gigabytes(), time.process_time()
        dataset = DATASETS.build(config)
        loaded, loading = peak_gigabytes(), time.process_time()
        check_annotation_file(dataset)
        checked, checking = peak_gigabytes(), time.process_time()
        print(
            f'{args.dataset}: {args.images} images with {args.objects} objects each, {path.stat().st_size / 1e6:.0f} MB'
        )
        print(f'loading:        {loading - start:6.1f} s, peak {loaded - before:.2f} GB')
        print(f'then the check: {checking - loading:6.1f} s, peak {checked - before:.2f} GB')
        print(
            f'kept for the loader processes, which share it: {dataset.data_bytes.nbytes / 1e9:.2f} GB'
        )
        if args.workers:
            alone, together = measure_workers(dataset, args.workers)
            print(
                f'one process holds {alone:.2f} GB, with {args.workers} workers {together:.2f} GB in all'
            )


if __name__ == '__main__':
    main()
