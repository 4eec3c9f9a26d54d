"""Show what happens inside a model, layer by layer: tools/analysis_tools/inspect_layers.py CONFIG CHECKPOINT IMAGE."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import MMLogger

from mask_dino.checkpoints import CheckpointError
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, add_config_options
from mask_dino.cli.help import make_parser, start_clock
from mask_dino.compat import resolve_config
from mask_dino.export.packages import ExportError
from mask_dino.files import write_picture, write_whole
from mask_dino.inferencers import FileNames
from mask_dino.inspect import (
    InspectionError,
    LayerView,
    Truth,
    draw_layers,
    inspect_layers,
    load_network,
    write_layers_page,
)
from mask_dino.inspect.images import build_dataset, find_annotated, read_image
from mask_dino.inspect.measure import (
    format_layers,
    measure_layers,
    plot_layers,
    read_truths,
    to_json,
)
from mask_dino.inspect.networks import LoadedNetwork, find_labels
from mask_dino.inspect.truth import read_truth
from mask_dino.inspect.views import pick_queries
from mask_dino.messages import DataError

DESCRIPTION = """
For chosen objects of an image, draw the mask, the box and the sampled points of their queries at every decoder layer,
as figure 1 of the paper's supplement does. Each image gives a picture, NAME_layers.png, and a page for the browser,
NAME_layers.html, which needs no network.

The queries are those with the highest class probability after the last layer (--top-k), or chosen ones (--query). With
annotations (--ann-file or --index), they are those that the matcher assigns to the annotated objects after the last
layer. docs/inspect.md has examples.
"""

ERRORS = (CheckpointError, DataError, ExportError, InspectionError, OSError)


class Task(NamedTuple):
    """One image to draw."""

    path: str
    truth: Truth | None


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        DESCRIPTION,
        'python tools/analysis_tools/inspect_layers.py '
        'configs/maskdino/maskdino_tiny_shapes-panoptic.py work_dirs/demo/weights.pth '
        'data/shapes/val/000001.jpg',
    )
    parser.add_argument('config', help='config file of a model of MMDetection or MMSegmentation')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('images', nargs='*', type=Path, metavar='IMAGE', help='image files')
    parser.add_argument(
        '--index',
        nargs='+',
        type=int,
        default=[],
        metavar='N',
        help="numbers of images of the config's test data, which are annotated (default: none)",
    )
    parser.add_argument(
        '--ann-file',
        type=Path,
        help="annotations of the images, in the format of the config's test data; images are found by "
        'their names (default: none)',
    )
    parser.add_argument(
        '--top-k', type=int, default=3, help='number of queries without annotations (default: 3)'
    )
    parser.add_argument(
        '--query',
        nargs='+',
        type=int,
        metavar='N',
        help='numbers of queries to draw (default: the best ones)',
    )
    parser.add_argument(
        '--rows', type=int, default=6, help='objects in the picture, the largest first (default: 6)'
    )
    parser.add_argument(
        '--beside',
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another model to draw and to measure: a Mask DINO, or Mask2Former of MMDetection or '
        'MMSegmentation (default: none)',
    )
    parser.add_argument(
        '--measure',
        action='store_true',
        help="also measure the mean IoU of masks and boxes after each layer on the config's test data: writes "
        'layers.json and layers.png',
    )
    parser.add_argument('--max-images', type=int, help='images to measure on (default: all)')
    parser.add_argument(
        '--out-dir', type=Path, default=Path('layers'), help='folder to write (default: layers)'
    )
    parser.add_argument(
        '--tile', type=int, default=240, help='size of one picture in pixels (default: 240)'
    )
    benchmarks.add_device(parser)
    add_config_options(parser, 'settings of CONFIG to override')
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that do not fit together.

    Raises:
        UsageError: The message names them.
    """
    if not (args.images or args.index or args.measure):
        raise UsageError('give an IMAGE, an --index of the test data, or --measure')
    if args.query and (args.index or args.ann_file):
        raise UsageError(
            '--query: with annotations, the matcher chooses the queries; leave one out'
        )
    for name in ('top_k', 'rows', 'tile', 'max_images'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f'--{name.replace("_", "-")} {value}: give 1 or more')


def load_networks(args: argparse.Namespace) -> list[LoadedNetwork]:
    """Return the model, and the model to compare it with if there is one.

    Raises:
        InspectionError: The models have different numbers of classes, or one of them cannot be inspected.
        CheckpointError: A checkpoint is damaged or does not fit its config.
        FileNotFoundError: There is no such config or checkpoint.
        ExportError: The classes do not fit the head.
    """
    choices = [(args.config, args.checkpoint, args.cfg_options)]
    if args.beside:
        choices.append((*args.beside, {}))
    networks = []
    device = benchmarks.find_device(args.device)
    for name, checkpoint, options in choices:
        config = benchmarks.read_config(resolve_config(name), options)
        with benchmarks.naming_config(name):
            networks.append(load_network(config, checkpoint, str(device)))
    sizes = {len(network.classes) for network in networks}
    if len(sizes) > 1:
        raise InspectionError(
            f'--beside {args.beside[0]}: the two models have different numbers of classes, {sorted(sizes)}'
        )
    return networks


def find_tasks(args: argparse.Namespace, network: LoadedNetwork) -> list[Task]:
    """Return the images to draw.

    Raises:
        InspectionError: There is no such image or annotation.
    """
    if not (args.index or args.ann_file):
        return [Task(str(path), None) for path in args.images]
    dataset = build_dataset(network.model.cfg, args.ann_file)
    labels = find_labels(network.model)
    samples = []
    for index in args.index:
        if not 0 <= index < len(dataset):
            raise InspectionError(
                f'--index {index}: the test data have the images 0 to {len(dataset) - 1}'
            )
        samples.append(dataset[index]['data_samples'])
    for path in args.images:
        if args.ann_file is None:
            break
        samples.append(find_annotated(dataset, path)['data_samples'])
    tasks = [Task(sample.img_path, read_truth(sample, labels)) for sample in samples]
    if args.ann_file is None:
        tasks += [Task(str(path), None) for path in args.images]
    return tasks


def draw_task(
    task: Task, stem: Path, networks: list[LoadedNetwork], args: argparse.Namespace
) -> str:
    """Write the picture and the page of one image; return a sentence about them.

    Raises:
        InspectionError: The image cannot be inspected.
        OSError: A file cannot be written.
    """
    views = []
    for network in networks:
        options = dict(truth=task.truth, queries=args.query, top_k=args.top_k)
        views.append(inspect_layers(network.model, task.path, **options))
    image = read_image(task.path)[..., ::-1].copy()
    shared = dict(truth=task.truth, names=name_models(networks))
    beside = views[1] if len(views) > 1 else []
    classes = networks[0].classes
    largest = choose_largest(views[0], args.rows)
    rows = [pick_queries(model, largest) for model in (views[0], beside)]
    picture = draw_layers(image, rows[0], classes, beside=rows[1], tile=args.tile, **shared)
    write_picture(stem.with_name(f'{stem.name}_layers.png'), picture)
    page = stem.with_name(f'{stem.name}_layers.html')
    title = f'{Path(task.path).name}, layer by layer'
    write_layers_page(page, image, views[0], classes, beside=beside, title=title, **shared)
    queries = ', '.join(str(query) for query in views[0][-1].queries)
    return f'{task.path}: queries {queries}; wrote {page} and .png'


def choose_largest(views: list[LayerView], count: int) -> list[int]:
    """Return the places of the queries with the largest masks after the last layer, in their order."""
    areas = views[-1].masks.sum((1, 2))
    return sorted((-areas).argsort(kind='stable')[:count].tolist())


def name_models(networks: list[LoadedNetwork]) -> tuple[str, str]:
    """Return the names of the models, by their configs if both have one class."""
    names = [type(network.model).__name__ for network in networks]
    if len(set(names)) < len(names):
        names = [Path(network.model.cfg.filename).stem for network in networks]
    return names[0], names[-1]


def measure_networks(
    args: argparse.Namespace, networks: list[LoadedNetwork], say: Callable[[str], None]
) -> None:
    """Measure the models on the test data, write the figures and print them.

    Raises:
        InspectionError: The test data have no annotated object.
    """
    model = networks[0].model
    dataset = build_dataset(model.cfg, args.ann_file)
    say(f'measuring on the test data of {args.config}')
    truths = read_truths(dataset, model, args.max_images)
    names = name_models(networks)
    qualities = []
    for name, network in zip(names, networks, strict=False):
        qualities.append(measure_layers(name, network.model, truths, say))
    write_whole(args.out_dir / 'layers.json', to_json(qualities).encode())
    write_whole(args.out_dir / 'layers.png', plot_layers(qualities))
    print(format_layers(qualities))
    say(f'wrote {args.out_dir / "layers.json"} and .png')


def run(args: argparse.Namespace) -> int:
    """Do what the arguments ask for; return the number of images that could not be drawn."""
    say = start_clock()
    say(f'loading {args.checkpoint}')
    networks = load_networks(args)
    if args.measure:
        measure_networks(args, networks, say)
    names = FileNames()
    failures = 0
    for task in find_tasks(args, networks[0]):
        stem = args.out_dir / names.choose(str(args.out_dir), task.path)
        try:
            say(draw_task(task, stem, networks, args))
        except (InspectionError, DataError) as error:
            failures += 1
            print(f'error: {error}', file=sys.stderr)
    return failures


def main() -> None:
    """Draw and measure, or say what is wrong."""
    parser = build_parser()
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    MMLogger.get_current_instance().setLevel('ERROR')
    try:
        check_arguments(args)
        failures = run(args)
    except UsageError as error:
        parser.error(str(error))
    except ERRORS as error:
        sys.exit(f'error: {error}')
    sys.exit(1 if failures else 0)


if __name__ == '__main__':
    main()
