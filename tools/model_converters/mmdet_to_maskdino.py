"""Convert a checkpoint of this project for the original Mask DINO.

python tools/model_converters/mmdet_to_maskdino.py SRC DST [--config CONFIG]
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import (
    add_trust_argument,
    build_model,
    check_paths,
    read_openmmlab,
    read_stored_config,
    write_checkpoint,
)
from mask_dino.checkpoints.maskdino import to_original
from mask_dino.cli.help import make_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        'Convert a checkpoint of MMDetection or MMSegmentation for the original Mask DINO '
        '(https://github.com/IDEA-Research/MaskDINO)',
        'python tools/model_converters/mmdet_to_maskdino.py checkpoints/maskdino_r50.pth maskdino_r50_original.pth',
        exit_codes='0: the file is written; 1: an error, which the last line names; 2: wrong arguments',
    )
    parser.add_argument(
        'source',
        metavar='SRC',
        type=Path,
        help='.pth or .safetensors file; code in it does not run',
    )
    parser.add_argument(
        'destination', metavar='DST', type=Path, help='file to write: .pth, or .safetensors'
    )
    parser.add_argument(
        '--config', type=Path, help='config of the model (default: the one in the checkpoint)'
    )
    add_trust_argument(parser)
    return parser.parse_args()


def convert(
    source: Path, destination: Path, config_path: Path | None, trusted_packages: list[str]
) -> None:
    """Convert and write the weights of a checkpoint; print what is left out.

    Raises:
        CheckpointError: The file is damaged or unsafe, or its tensors have no place in the original.
        FileNotFoundError: There is no such file.
        OSError: The file cannot be written.
    """
    # Packages that the config of the user imports are trusted in the checkpoint: the config is read first.
    given_config = Config.fromfile(config_path) if config_path else None
    checkpoint = read_openmmlab(source, trusted_packages)
    config = given_config or read_stored_config(checkpoint, source)
    restored = to_original(checkpoint['state_dict'], build_model(config))
    print(f'left out, because the original derives it: {len(restored.derived)} buffers')
    write_checkpoint(dict(model=restored.state), destination)
    print(f'wrote {destination}: {len(restored.state)} tensors')


def main() -> None:
    """Convert a checkpoint of this package."""
    args = parse_args()
    try:
        check_paths(args.source, args.destination)
        convert(args.source, args.destination, args.config, args.trust_package)
    except (CheckpointError, OSError) as error:
        sys.exit(f'error: {args.source} was not converted: {error}')


if __name__ == '__main__':
    main()
