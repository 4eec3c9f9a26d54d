"""Test an exported file on the test data of a config: tools/deployment/test.py CONFIG model.onnx."""

import argparse
import json
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, add_config_options
from mask_dino.cli.help import make_parser
from mask_dino.compat import resolve_config
from mask_dino.export.evaluation import evaluate_file, open_model
from mask_dino.export.packages import ExportError
from mask_dino.runtime import ModelFileError


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        'Compute the figures of an exported file (AP, PQ, mIoU) on the test data of a config, '
        "with the config's own evaluators. tools/test.py computes the same for a checkpoint.",
        'python tools/deployment/test.py configs/maskdino/maskdino_tiny_shapes-panoptic.py model.onnx',
    )
    parser.add_argument('config', help='config file that the file was exported with')
    parser.add_argument(
        'model',
        type=Path,
        help='exported file: model.onnx, model.xml (OpenVINO) or model.pt2 (torch)',
    )
    parser.add_argument(
        '--threads', type=int, help='threads of the network (default: its own choice)'
    )
    parser.add_argument(
        '--precision',
        choices=['f32', 'bf16'],
        default='f32',
        help='precision in which an OpenVINO file computes (default: f32)',
    )
    parser.add_argument(
        '--out', type=Path, help='JSON file for the figures (default: they are only printed)'
    )
    add_config_options(parser)
    return parser


def main() -> None:
    """Test, or say what is wrong."""
    parser = build_parser()
    args = parser.parse_args()
    # The figures are printed once, below; warnings are shown.
    MMLogger.get_current_instance().setLevel('WARNING')
    try:
        config = benchmarks.read_config(resolve_config(args.config), args.cfg_options)
        segmenter = open_model(args.model, args.threads, args.precision)
        figures = evaluate_file(segmenter, config)
    except UsageError as error:
        parser.error(str(error))
    except (ExportError, ModelFileError) as error:
        sys.exit(f'error: {error}')
    text = json.dumps(figures, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == '__main__':
    main()
