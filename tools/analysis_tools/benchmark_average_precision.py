"""Measure time and memory of box and mask AP on made-up results of COCO's size, for our metric or mmdet's."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_masks

import mask_dino.det  # noqa: F401  registers the metrics
from mask_dino.benchmarks.measure import MEGABYTE
from mask_dino.benchmarks.step import peak_memory
from mask_dino.cli.help import make_parser, positive

HEIGHT, WIDTH = 480, 640
CLASSES = tuple(f'class {number}' for number in range(80))


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_average_precision.py --metric CocoMetric',
    )
    parser.add_argument(
        '--images', type=positive, default=500, help='number of images (default: %(default)s)'
    )
    parser.add_argument(
        '--results', type=positive, default=100, help='results of an image (default: %(default)s)'
    )
    parser.add_argument(
        '--objects', type=positive, default=7, help='objects of an image (default: %(default)s)'
    )
    metrics = ['CompleteCocoMetric', 'CocoMetric']
    parser.add_argument(
        '--metric',
        choices=metrics,
        default=metrics[0],
        help='our metric, or the one of mmdet (default: %(default)s)',
    )
    return parser


def draw_mask(rng: np.random.Generator) -> tuple[dict, list[float]]:
    """Return an ellipse as run lengths, and its box x, y, width, height."""
    extent = rng.uniform(8, 200, 2)
    radius = extent / 2
    center = rng.uniform(radius, (WIDTH, HEIGHT) - radius)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    directions = np.stack((np.cos(angles), np.sin(angles)), 1)
    outline = center + directions * radius
    polygon = outline.ravel().tolist()
    [code] = coco_masks.frPyObjects([polygon], HEIGHT, WIDTH)
    return code, coco_masks.toBbox(code).tolist()


def make_annotation(number: int, image: int, rng: np.random.Generator) -> dict:
    """Return an object of the annotation file."""
    code, box = draw_mask(rng)
    mask = dict(size=code['size'], counts=code['counts'].decode())
    area = float(coco_masks.area(code))
    category = int(rng.integers(len(CLASSES)))
    return dict(
        id=number,
        image_id=image,
        category_id=category,
        bbox=box,
        area=area,
        iscrowd=0,
        segmentation=mask,
    )


def make_sample(
    image: int, annotations: list[dict], results: int, rng: np.random.Generator
) -> dict:
    """Return a data sample in which most objects are found several times, among random results."""
    boxes, labels, masks = [], [], []
    for number in range(results):
        if annotations and number % 3 == 0:
            annotation = annotations[number % len(annotations)]
            mask, box, label = (
                annotation['segmentation'],
                annotation['bbox'],
                annotation['category_id'],
            )
        else:
            mask, box = draw_mask(rng)
            label = int(rng.integers(len(CLASSES)))
        x, y, width, height = np.array(box) + rng.normal(0, 2, 4)
        boxes.append([x, y, x + max(width, 1), y + max(height, 1)])
        labels.append(label)
        masks.append(dict(mask))
    instances = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        labels=torch.tensor(labels),
        scores=torch.from_numpy(rng.random(results)).float(),
        masks=masks,
    )
    return dict(
        img_id=image, img_path=f'{image}.jpg', ori_shape=(HEIGHT, WIDTH), pred_instances=instances
    )


def write_annotations(path: Path, images: int, objects: int) -> list[list[dict]]:
    """Write the annotation file, and return the objects of each image."""
    rng = np.random.default_rng(0)
    by_image = []
    for image in range(images):
        first = image * objects + 1  # mmdet's metric needs ids other than 0
        by_image.append([make_annotation(first + number, image, rng) for number in range(objects)])
    described = [
        dict(id=i, file_name=f'{i}.jpg', height=HEIGHT, width=WIDTH) for i in range(images)
    ]
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES)]
    annotations = [annotation for annotations in by_image for annotation in annotations]
    path.write_text(
        json.dumps(dict(images=described, annotations=annotations, categories=categories))
    )
    return by_image


def time_metrics(args: argparse.Namespace, path: Path) -> None:
    """Evaluate made-up results of the annotations that are written to ``path``, and print two lines."""
    annotations = write_annotations(path, args.images, args.objects)
    metric: BaseMetric = METRICS.build(
        dict(type=args.metric, ann_file=str(path), metric=['bbox', 'segm'])
    )
    metric.dataset_meta = dict(classes=CLASSES)
    rng = np.random.default_rng(1)
    with peak_memory(torch.device('cpu')) as held:
        for image, objects in enumerate(annotations):
            metric.process({}, [make_sample(image, objects, args.results, rng)])
    start = time.perf_counter()
    with peak_memory(torch.device('cpu')) as computing:
        figures = metric.evaluate(args.images)
    seconds = time.perf_counter() - start
    print(
        ', '.join(
            f'{name} {value:.3f}' for name, value in figures.items() if 'copypaste' not in name
        )
    )
    memory = ' and '.join(f'{(peak.value or 0) / MEGABYTE:.0f} MB' for peak in (held, computing))
    print(
        f'{args.metric}: {args.images} images with {args.results} results each in {seconds:.1f} s; results and their '
        f'evaluation take {memory}'
    )


def main() -> None:
    """Measure in a temporary folder."""
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        time_metrics(args, Path(folder) / 'instances.json')


if __name__ == '__main__':
    main()
