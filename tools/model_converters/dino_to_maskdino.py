"""Convert a DINO of MMDetection, or of the original implementation, for a config of this project.

python tools/model_converters/dino_to_maskdino.py SRC DST [--config CONFIG]
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.dino import from_dino
from mask_dino.checkpoints.io import (
    add_trust_argument,
    build_model,
    check_paths,
    make_checkpoint,
    read_detector,
    write_checkpoint,
)
from mask_dino.checkpoints.select_config import choose_detector_config
from mask_dino.cli.help import make_parser

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'maskdino'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        'Start a Mask DINO from a DINO of MMDetection or of the original '
        '(https://github.com/IDEA-Research/DINO); the mask branch is new and has to be trained',
        'python tools/model_converters/dino_to_maskdino.py dino-4scale_r50_8xb2-12e_coco.pth '
        'checkpoints/maskdino_from_dino.pth',
        exit_codes='0: the file is written; 1: an error, which the last line names; 2: wrong arguments',
    )
    parser.add_argument(
        'source',
        metavar='SRC',
        type=Path,
        help='.pth or .safetensors file; code in it does not run',
    )
    parser.add_argument(
        'destination', metavar='DST', type=Path, help='file for load_from: .pth, or .safetensors'
    )
    parser.add_argument(
        '--config', type=Path, help='config of the model (default: the one that fits the detector)'
    )
    add_trust_argument(parser)
    return parser.parse_args()


def convert(state: dict[str, Tensor], source: Path, destination: Path, config_path: Path) -> None:
    """Convert and write a detector; print what is used, what is left out, and which settings differ.

    Raises:
        CheckpointError: Tensors are unknown or missing, or have other shapes.
        OSError: The file cannot be written.
    """
    print(f'config: {config_path}')
    config = Config.fromfile(config_path)
    converted = from_dino(state, build_model(config))
    for module, (known, total) in converted.coverage.items():
        print(f'{module}: {known} of {total} tensors from the detector')
    print(f'left out ({len(converted.dropped)}): {", ".join(converted.dropped) or "nothing"}')
    if converted.differences:
        print(
            'before training, the model does not detect as the detector does. It would with panoptic_head:'
        )
        print('  ' + '\n  '.join(converted.differences))
    write_checkpoint(make_checkpoint(config, converted.state, source), destination)
    print(f'wrote {destination}')


def main() -> None:
    """Convert a checkpoint of a DINO detector."""
    args = parse_args()
    try:
        check_paths(args.source, args.destination)
        state = read_detector(args.source, args.trust_package)
        config_path = args.config or choose_detector_config(state, CONFIGS)
        convert(state, args.source, args.destination, config_path)
    except (CheckpointError, OSError) as error:
        sys.exit(f'error: {args.source} was not converted: {error}')


if __name__ == '__main__':
    main()
