"""Try a model in a browser: tools/demo/app.py CONFIG CHECKPOINT, or tools/demo/app.py model.onnx."""

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mask_dino.cli.help import make_parser

if TYPE_CHECKING:
    from mask_dino.demo.predictors import Predictor

PACKAGES = dict(gradio='gradio', pycocotools='pycocotools', PIL='Pillow', onnxruntime='onnxruntime')
"""Module -> package that the page needs."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        'Open a page in which anybody can try a model: drop an image, see instances, panoptic and '
        'semantic maps, download the picture and the results. An exported model needs no torch. docs/demo.md has a '
        'picture of the page.',
        'python tools/demo/app.py configs/maskdino/maskdino_tiny_shapes-panoptic.py work_dirs/demo/weights.pth',
        'python tools/demo/app.py model.onnx --port 7861',
        exit_codes='0: stopped with Ctrl-C; 1: an error, which the last line names; 2: wrong arguments',
    )
    parser.add_argument(
        'model',
        nargs='+',
        metavar='MODEL',
        help='config and checkpoint, or one file that tools/deployment/export.py wrote (model.onnx)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, only this machine; 0.0.0.0 lets everybody in your network in)',
    )
    parser.add_argument('--port', type=int, default=7860, help='port (default: 7860)')
    parser.add_argument(
        '--examples',
        type=Path,
        metavar='DIR',
        help='folder of images to choose from (default: drawn pictures of Shapes)',
    )
    parser.add_argument(
        '--max-side',
        type=int,
        default=2048,
        metavar='PIXELS',
        help='larger images are reduced to this length of their longer side (default: 2048)',
    )
    parser.add_argument(
        '--device', default='cpu', help='device of a checkpoint: cpu, cuda, cuda:1 (default: cpu)'
    )
    args = parser.parse_args()
    is_exported = len(args.model) == 1 and args.model[0].endswith('.onnx')
    if not is_exported and len(args.model) != 2:
        parser.error('give a config and its checkpoint, or one exported file that ends with .onnx')
    if args.max_side < 64:
        parser.error(f'--max-side {args.max_side} must be 64 pixels or more')
    return args


def check_packages() -> None:
    """Find missing packages before anything is loaded."""
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        sys.exit(
            f"error: the page needs {', '.join(missing)}: pip install 'mask_dino[demo]', or in a clone "
            'pip install -r requirements/demo.txt'
        )


def load_exported(path: str) -> 'Predictor':
    """Open an exported file."""
    from mask_dino.demo.predictors import ExportedPredictor
    from mask_dino.runtime import ModelFileError

    try:
        return ExportedPredictor(path)
    except ModelFileError as error:
        sys.exit(f'error: {error}')


def load_trained(config: str, checkpoint: str, device: str) -> 'Predictor':
    """Build the model of a config, and load its weights.

    Raises:
        FileNotFoundError: There is no such config or checkpoint.
    """
    from mask_dino.checkpoints import CheckpointError
    from mask_dino.cli import benchmarks
    from mask_dino.cli.common import UsageError
    from mask_dino.compat import resolve_config
    from mask_dino.demo.trained import TrainedPredictor
    from mask_dino.export.packages import ExportError
    from mask_dino.inspect import InspectionError

    try:
        settings = benchmarks.read_config(resolve_config(config), {})
        return TrainedPredictor(settings, checkpoint, device)
    except (CheckpointError, ExportError, InspectionError, OSError, UsageError) as error:
        sys.exit(f'error: {error}')


def run(args: argparse.Namespace, folder: Path) -> None:
    """Load the model, make the examples, and serve the page.

    Args:
        folder: Where uploads, examples and downloads are kept while the page runs.

    Raises:
        NotADirectoryError: ``--examples`` is not a folder.
        OSError: The port is in use.
    """
    os.environ['GRADIO_TEMP_DIR'] = str(folder / 'gradio')
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    from mask_dino.demo import page
    from mask_dino.demo.examples import write_examples
    from mask_dino.demo.session import Session, find_views

    examples = folder / 'examples'
    for sentence in write_examples(examples, args.examples, args.max_side):
        print(sentence, flush=True)
    print(f'Loading {" and ".join(args.model)}', flush=True)
    model = (
        load_exported(*args.model)
        if len(args.model) == 1
        else load_trained(*args.model, args.device)
    )
    downloads = folder / 'downloads'
    downloads.mkdir()
    session = Session(model, sorted(examples.iterdir()), downloads, args.max_side)
    shown = page.build_page(session, find_views(model))
    address = page.start(shown, args.host, args.port, examples)
    print(f'Open {address} in a browser; Ctrl+C stops the page', flush=True)
    shown.block_thread()


def main() -> None:
    """Serve the page until it is stopped."""
    args = parse_args()
    check_packages()
    try:
        with tempfile.TemporaryDirectory(prefix='mask_dino_page_') as folder:
            run(args, Path(folder))
    except OSError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print()


if __name__ == '__main__':
    main()
