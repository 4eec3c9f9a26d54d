"""Export a model to a file that runs without torch: tools/deployment/export.py CONFIG CHECKPOINT model.onnx."""

import argparse
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

from mask_dino.checkpoints import CheckpointError
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, add_config_options
from mask_dino.cli.help import make_parser, size, start_clock
from mask_dino.compat import resolve_config
from mask_dino.export.packages import PACKAGES_OF_FORMATS, ExportError, check_packages


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        'Export a model of MMDetection or MMSegmentation to a file that runs without torch and '
        'without any package of OpenMMLab. The file is compared with the model before it is put '
        'in its place. docs/deployment.md has more.',
        'python tools/deployment/export.py configs/maskdino/maskdino_tiny_shapes-panoptic.py '
        'work_dirs/demo/weights.pth model.onnx',
        exit_codes='0: the file is written; 1: an error, or a larger difference than --tolerance, and no '
        'file is left; 2: wrong arguments',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument(
        'output',
        type=Path,
        help='file to write: model.onnx, model.xml (OpenVINO) or model.pt2 (torch)',
    )
    parser.add_argument(
        '--format',
        choices=list(PACKAGES_OF_FORMATS),
        default='onnx',
        help='form of the file (default: onnx)',
    )
    parser.add_argument(
        '--task',
        nargs='+',
        choices=['detection', 'instance', 'panoptic', 'semantic'],
        default=[],
        help='what the file is for; detection is boxes without masks (default: what the config does, which is all of '
        'instance, panoptic and semantic with a panoptic config)',
    )
    parser.add_argument(
        '--size',
        type=size,
        default=(512, 512),
        metavar='HEIGHTxWIDTH',
        help='size at which the network is traced (default: 512); the file takes any size, except with --static',
    )
    parser.add_argument(
        '--static',
        action='store_true',
        help='fix the size of the input, and its batch to one image',
    )
    parser.add_argument(
        '--raw',
        action='store_true',
        help='write logits, boxes and mask logits of all queries, not results; mask_dino.runtime does not read them',
    )
    parser.add_argument(
        '--embed-preprocessing',
        action='store_true',
        help='normalise and pad in the file, which then takes (batch, height, width, 3) uint8 RGB '
        '(default: padded, normalised (batch, 3, height, width) float32)',
    )
    parser.add_argument(
        '--opset', type=int, default=18, help="version of ONNX's operators (default: 18)"
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=1e-3,
        help='largest difference from the model, of logits, probabilities and boxes as fractions (default: 0.001)',
    )
    parser.add_argument('--image', type=Path, help='image to compare on (default: a generated one)')
    add_config_options(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Export, saying what is being done.

    Raises:
        UsageError: The config cannot be read, or its parts do not exist or do not fit together.
        ExportError: The options or the config ask for what cannot be exported.
        ParityError: The file computes something else than the model.
        CheckpointError: The checkpoint is damaged or does not fit the config.
        FileNotFoundError: There is no such config or checkpoint.
        OSError: The file cannot be written.
    """
    from mask_dino.export.exporter import Options, check_options, export_model
    from mask_dino.export.model import load_model

    options = Options(
        format=args.format,
        tasks=tuple(args.task),
        raw=args.raw,
        size=args.size,
        static=args.static,
        embedded=args.embed_preprocessing,
        opset=args.opset,
        tolerance=args.tolerance,
        image=args.image,
    )
    check_options(options, args.output)
    say = start_clock()
    config = benchmarks.read_config(resolve_config(args.config), args.cfg_options)
    say(f'loading {args.checkpoint}')
    with benchmarks.naming_config(args.config):
        trained = load_model(config, args.checkpoint)
    info = export_model(trained, args.output, options, say)
    made = ', '.join(info.tasks) or 'raw predictions'
    say(
        f'wrote {args.output}, {args.output.stat().st_size / 1e6:.1f} MB: {made} of {len(info.classes)} classes'
    )


def quieten() -> None:
    """Silence torch's messages about its own parts during an export."""
    warnings.filterwarnings('ignore')
    for name in ('torch.onnx', 'onnxscript', 'onnx_ir', 'torch.export'):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault('TORCH_LOGS', '-all')


def stop(*_: object) -> None:
    """End as Ctrl-C does, so that nothing half-written is left."""
    raise KeyboardInterrupt


def main() -> None:
    """Export, or say what is wrong."""
    parser = build_parser()
    args = parser.parse_args()
    quieten()
    signal.signal(signal.SIGTERM, stop)
    try:
        check_packages(args.format)
        from mask_dino.export.exporter import ParityError
        from mask_dino.runtime import ImageError
    except ExportError as error:
        sys.exit(f'error: {error}')
    try:
        run(args)
    except UsageError as error:
        parser.error(str(error))
    except (CheckpointError, ExportError, ImageError, ParityError, OSError) as error:
        sys.exit(f'error: nothing was exported: {error}')
    except KeyboardInterrupt:
        sys.exit('error: nothing was exported: interrupted')


if __name__ == '__main__':
    main()
