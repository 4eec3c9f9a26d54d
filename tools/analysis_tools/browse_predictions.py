"""Draw the worst and the best results of a test, with ground truth: browse_predictions.py CONFIG CHECKPOINT."""

import argparse
import html
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement

from mask_dino.checkpoints import CheckpointError
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, add_config_options
from mask_dino.cli.help import make_parser, positive, start_clock
from mask_dino.compat import resolve_config
from mask_dino.export.packages import ExportError
from mask_dino.files import write_json, write_picture, write_whole
from mask_dino.inspect import InspectionError, Truth, load_network
from mask_dino.inspect.images import build_dataset, read_image
from mask_dino.inspect.networks import LoadedNetwork, find_labels
from mask_dino.inspect.pictures import arrange_pictures, choose_side, draw_segments, list_truth
from mask_dino.inspect.ranking import Task, find_tasks
from mask_dino.inspect.truth import read_truth
from mask_dino.messages import DataError

DESCRIPTION = """
Run a model on the test data of its config and draw the images with the worst results, then those with the best, each
with its ground truth. For each kind of results that the model has (instances, panoptic, semantic) there is a folder of
pictures, and index.html shows all of them.
"""

ERRORS = (CheckpointError, DataError, ExportError, InspectionError, OSError)


class Rated(NamedTuple):
    """One image of the data set."""

    index: int
    path: str
    quality: float


class Drawn(NamedTuple):
    """One picture of the page."""

    rated: Rated
    rank: str
    file: Path


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        DESCRIPTION,
        'python tools/analysis_tools/browse_predictions.py '
        'configs/maskdino/maskdino_tiny_shapes-panoptic.py work_dirs/demo/weights.pth --count 8',
    )
    parser.add_argument('config', help='config file of a Mask DINO')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument(
        '--out-dir',
        type=Path,
        default=Path('predictions'),
        help='folder to write (default: predictions)',
    )
    parser.add_argument(
        '--count',
        type=positive,
        default=8,
        help='worst images, and as many best ones (default: 8)',
    )
    parser.add_argument('--max-images', type=positive, help='images to test (default: all)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='lowest score of an instance (default: 0.3)'
    )
    benchmarks.add_device(parser)
    add_config_options(parser)
    return parser


class Browser:
    """A model with the data set that it is tested on."""

    def __init__(self, network: LoadedNetwork, dataset: BaseDataset, score_thr: float) -> None:
        self.network = network
        self.dataset = dataset
        self.score_thr = score_thr
        self.labels = find_labels(network.model)

    @torch.no_grad()
    def test(self, index: int) -> tuple[BaseDataElement, Truth]:
        """Return the results of one image, and its annotated objects."""
        item = self.dataset[index]
        truth = read_truth(item['data_samples'], self.labels)
        [sample] = self.network.model.test_step(pseudo_collate([item]))
        return sample, truth

    def rate(self, count: int, say: Callable[[str], None]) -> dict[str, list[Rated]]:
        """Return the images for each task, the worst first."""
        rated: dict[str, list[Rated]] = {}
        for index in range(count):
            sample, truth = self.test(index)
            for task in find_tasks(sample, self.score_thr):
                segments = task.list_results(sample, self.network.classes)
                target = task.choose_truth(truth, self.labels.num_things)
                quality = task.rate(segments, target)
                rated.setdefault(task.name, []).append(Rated(index, sample.img_path, quality))
            if (index + 1) % max(1, count // 10) == 0:
                say(f'{index + 1} of {count} images')
        for images in rated.values():
            images.sort(key=lambda image: image.quality)
        return rated

    def draw(self, rated: Rated, name: str, file: Path) -> str:
        """Write the picture of one image for one task; return what the quality means."""
        sample, truth = self.test(rated.index)
        [task] = [task for task in find_tasks(sample, self.score_thr) if task.name == name]
        write_picture(file, self.compare(task, sample, truth, rated))
        return task.quality

    def compare(
        self, task: Task, sample: BaseDataElement, truth: Truth, rated: Rated
    ) -> np.ndarray:
        """Return the image, its ground truth and its results side by side."""
        image = read_image(sample.img_path)[..., ::-1].copy()
        classes, palette = self.network.classes, self.network.palette
        side = choose_side(image.shape)
        target = task.choose_truth(truth, self.labels.num_things)
        annotated = list_truth(target, classes, boxes=task.name == 'instances')
        predicted = task.list_results(sample, classes)
        pictures = [
            (Path(rated.path).name, draw_segments(image, [], palette, side)),
            ('ground truth', draw_segments(image, annotated, palette, side)),
            (
                f'{task.name}: quality {rated.quality:.2f}',
                draw_segments(image, predicted, palette, side),
            ),
        ]
        return arrange_pictures(pictures)


def choose_worst_and_best(rated: list[Rated], count: int) -> list[tuple[str, Rated]]:
    """Return the worst images and then the best, each once, with their ranks."""
    from_the_best = rated[count:][::-1]
    chosen = []
    for word, images in (('worst', rated[:count]), ('best', from_the_best[:count])):
        for number, one in enumerate(images, 1):
            chosen.append((f'{word}_{number:02d}', one))
    return chosen


def write_index(path: Path, sections: dict[str, list[Drawn]], meanings: dict[str, str]) -> None:
    """Write the page of all pictures; it needs no network, only the folders next to it."""
    lines = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Worst and best results</title>',
        '<style>body{font:16px/1.5 system-ui,sans-serif;margin:1rem}img{max-width:100%}figure{margin:1rem 0}</style>',
        '<h1>Worst and best results</h1>',
    ]
    for name, drawn in sections.items():
        lines.append(f'<h2>{name}</h2><p>Quality: {html.escape(meanings[name])}. 1 is perfect.</p>')
        for one in drawn:
            text = (
                f'{one.rank.replace("_", " ")}: {one.rated.path}, quality {one.rated.quality:.3f}'
            )
            caption = html.escape(text)
            source = html.escape(str(one.file.relative_to(path.parent)))
            lines.append(
                f'<figure><img src="{source}" alt="Image, ground truth and results of {caption}" loading="lazy">'
                f'<figcaption>{caption}</figcaption></figure>'
            )
    write_whole(path, '\n'.join(lines).encode())


def run(args: argparse.Namespace) -> None:
    """Test, rank and draw.

    Raises:
        CheckpointError: The checkpoint is damaged or does not fit the config.
        FileNotFoundError: There is no such config or checkpoint.
        InspectionError: The model cannot be inspected, or the test data are missing.
        ExportError: The classes do not fit the head.
    """
    say = start_clock()
    config = benchmarks.read_config(resolve_config(args.config), args.cfg_options)
    device = benchmarks.find_device(args.device)
    with benchmarks.naming_config(args.config):
        network = load_network(config, args.checkpoint, str(device))
    dataset = build_dataset(config)
    browser = Browser(network, dataset, args.score_thr)
    count = min(len(dataset), args.max_images or len(dataset))
    say(f'testing on {count} images')
    sections: dict[str, list[Drawn]] = {}
    meanings: dict[str, str] = {}
    for name, rated in browser.rate(count, say).items():
        mean = sum(one.quality for one in rated) / len(rated)
        say(f'{name}: mean quality {mean:.3f}, worst {rated[0].quality:.3f} ({rated[0].path})')
        write_json(args.out_dir / f'{name}.json', [one._asdict() for one in rated])
        for rank, one in choose_worst_and_best(rated, args.count):
            file = args.out_dir / name / f'{rank}_{Path(one.path).stem}.png'
            meanings[name] = browser.draw(one, name, file)
            sections.setdefault(name, []).append(Drawn(one, rank, file))
    write_index(args.out_dir / 'index.html', sections, meanings)
    say(f'wrote {args.out_dir / "index.html"}')


def main() -> None:
    """Draw the images, or say what is wrong."""
    parser = build_parser()
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    MMLogger.get_current_instance().setLevel('ERROR')
    try:
        run(args)
    except UsageError as error:
        parser.error(str(error))
    except ERRORS as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
