"""Time every transform in the training pipeline of a config of mmdet, and print the images per second of one worker.

Images and polygons are generated with the usual size and number of COCO.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mask_dino.benchmarks.measure import save
from mask_dino.benchmarks.timing import Spans
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, run_tool
from mask_dino.cli.help import make_parser, natural, positive, size
from mask_dino.messages import format_table

CORNERS = 40  # of a polygon


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_loading.py '
        'configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py --threads 1',
    )
    parser.add_argument('config', help='config file, or a config of mmdet: mmdet::FOLDER/NAME.py')
    parser.add_argument(
        '--size',
        type=size,
        default=(480, 640),
        help='size of the images (default: 480x640)',
    )
    parser.add_argument(
        '--objects', type=natural, default=7, help='objects of an image (default: 7)'
    )
    parser.add_argument(
        '--images', type=positive, default=50, help='number of images (default: 50)'
    )
    benchmarks.add_arguments(parser)
    return parser


def make_image(folder: Path, size: tuple[int, int], objects: int, number: int) -> dict:
    """Write an image; return its annotations as a data set loads them."""
    rng = np.random.default_rng(number)
    height, width = size
    coarse_size = (max(1, height // 8), max(1, width // 8), 3)
    coarse = rng.integers(0, 256, coarse_size, dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    path = folder / f'{number}.jpg'
    cv2.imwrite(str(path), image)
    instances = [make_instance(width, height, rng) for _ in range(objects)]
    return dict(img_path=str(path), img_id=number, height=height, width=width, instances=instances)


def make_instance(width: int, height: int, rng: np.random.Generator) -> dict:
    """Return the annotation of an ellipse, as a polygon and as a box."""
    image_size = np.array((width, height))
    size = rng.uniform(0.1, 0.5, 2) * image_size
    center = rng.uniform(size / 2, image_size - size / 2)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack((np.cos(angles), np.sin(angles)), 1)  # (corners, 2)
    outline = center + circle * size / 2
    return dict(
        bbox=[*outline.min(0), *outline.max(0)],
        bbox_label=0,
        mask=[outline.flatten().tolist()],
        ignore_flag=0,
    )


def build_transforms(name: str, config: Config) -> list:
    """Return the transforms of the training data.

    Raises:
        UsageError: The config has no training pipeline of MMDetection.
    """
    pipeline = config.get('train_dataloader', {}).get('dataset', {}).get('pipeline')
    if pipeline is None or config.get('default_scope') != 'mmdet':
        raise UsageError(f'{name}: has no train_dataloader.dataset.pipeline of MMDetection')
    init_default_scope('mmdet')
    try:
        return list(Compose(pipeline).transforms)
    except (KeyError, TypeError) as error:
        raise UsageError(f'{name}: a transform cannot be built: {error}') from error


def time_transforms(transforms: list, infos: list[dict]) -> dict[str, float]:
    """Return the seconds of each transform."""
    spans = Spans(torch.device('cpu'))
    for data in infos:
        load_image(data, transforms, spans)
    return spans.seconds()


def load_image(data: dict | None, transforms: list, spans: Spans) -> None:
    """Load one image and time every transform, up to one that leaves the image out."""
    for transform in transforms:
        if data is None:
            return
        with spans.part(type(transform).__name__):
            data = transform(data)


def main() -> None:
    """Measure and print the table."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        benchmarks.prepare_torch(args)
        config = benchmarks.read_config(args.config, args.cfg_options)
        transforms = build_transforms(args.config, config)
    except UsageError as error:
        parser.error(str(error))
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        infos = [
            make_image(Path(folder), args.size, args.objects, number)
            for number in range(args.images)
        ]
        parts = time_transforms(transforms, infos)
    total = sum(parts.values())
    rows = [
        [name, f'{seconds / args.images * 1000:.1f}', f'{seconds / total:.0%}']
        for name, seconds in parts.items()
    ]
    print(
        format_table(
            ['transform', 'ms per image', 'share'],
            [*rows, ['all', f'{total / args.images * 1000:.1f}', '100%']],
        )
    )
    print(f'{args.images / total:.1f} images per second in one worker')
    if args.out:
        record = dict(
            model=Path(args.config).stem, images=args.images, objects=args.objects, parts=parts
        )
        save(args.out, torch.device('cpu'), [record])


if __name__ == '__main__':
    run_tool(main)
