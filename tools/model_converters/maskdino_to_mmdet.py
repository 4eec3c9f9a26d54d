"""Convert a checkpoint of the original Mask DINO, or of detrex, for a config of this project.

python tools/model_converters/maskdino_to_mmdet.py SRC DST [--config CONFIG] [--verify]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import (
    build_model,
    check_paths,
    compute_fingerprint,
    make_checkpoint,
    read_original,
    write_checkpoint,
)
from mask_dino.checkpoints.maskdino import from_original
from mask_dino.checkpoints.select_config import (
    choose_config,
    list_unseen_settings,
    read_architecture,
)
from mask_dino.cli.help import make_parser

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'maskdino'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        'Convert a checkpoint of the original Mask DINO (https://github.com/IDEA-Research/MaskDINO), or of '
        'detrex, for MMDetection or MMSegmentation',
        'python tools/model_converters/maskdino_to_mmdet.py RELEASED.pth checkpoints/maskdino_r50.pth --verify',
        exit_codes='0: the file is written; 1: an error, which the last line names; 2: wrong arguments',
    )
    parser.add_argument(
        'source',
        metavar='SRC',
        type=Path,
        help='.pth, .pkl or .safetensors file; code in it does not run',
    )
    parser.add_argument(
        'destination', metavar='DST', type=Path, help='file to write: .pth, or .safetensors'
    )
    parser.add_argument(
        '--config', type=Path, help='config of the model (default: the one that fits the tensors)'
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help='load the written file strictly, run it once and print a fingerprint',
    )
    return parser.parse_args()


def convert(
    state: dict[str, Tensor], source: Path, destination: Path, config_path: Path | None
) -> None:
    """Convert and write tensors; print the choice of the config, what is left out, and what no tensor shows.

    Raises:
        CheckpointError: No config fits, or tensors are unknown or missing, or have other shapes.
        OSError: The file cannot be written.
    """
    reason = 'as given'
    if config_path is None:
        architecture = read_architecture(state)
        print(f'architecture: {architecture}')
        config_path, reason = choose_config(architecture, source.name, CONFIGS)
    print(f'config: {config_path}, {reason}')
    config = Config.fromfile(config_path)
    converted = from_original(state, build_model(config))
    buffers = Counter(name.rpartition('.')[2] for name in converted.derived)
    derived = ', '.join(f'{count} {name}' for name, count in buffers.items())
    print(f'order of the encoder levels in the file: {converted.levels}')
    print(
        f'ignored, without a place in the model ({len(converted.ignored)}): {", ".join(converted.ignored) or "none"}'
    )
    print(f'derived from the config: {derived or "nothing"}')
    print(
        f'not shown by the tensors, taken from the config: {", ".join(list_unseen_settings(config)) or "nothing"}'
    )
    write_checkpoint(make_checkpoint(config, converted.state, source), destination)
    print(f'wrote {destination}: {len(converted.state)} tensors')


def main() -> None:
    """Convert a checkpoint of the original implementation."""
    args = parse_args()
    try:
        check_paths(args.source, args.destination)
        state = read_original(args.source)
    except (CheckpointError, OSError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.source}: {len(state)} tensors')
    try:
        convert(state, args.source, args.destination, args.config)
        if args.verify:
            print(
                f'verified, mean magnitudes on a seeded image: {compute_fingerprint(args.destination)}'
            )
    except (CheckpointError, OSError) as error:
        sys.exit(f'error: {args.source} was not converted: {error}')


if __name__ == '__main__':
    main()
