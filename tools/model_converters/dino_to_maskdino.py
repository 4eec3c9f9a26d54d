"""Convert a DINO of MMDetection, or of the original implementation, for a config of this project.

python tools/model_converters/dino_to_maskdino.py SRC DST --config CONFIG
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.detectors import convert_detector
from mask_dino.checkpoints.files import build_model, check_paths, checkpoint_for, read_detector, write

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'maskdino' / 'maskdino_r50_8xb2-lsj-12e_dino-coco.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Start a Mask DINO from a DINO of MMDetection or of the original '
        '(https://github.com/IDEA-Research/DINO); its masks are to be learned'
    )
    parser.add_argument('source', metavar='SRC', type=Path, help='.pth file; code in it does not run')
    parser.add_argument('destination', metavar='DST', type=Path, help='file to write, for load_from')
    parser.add_argument('--config', type=Path, default=CONFIG, help=f'config of the model (default: {CONFIG.name})')
    return parser.parse_args()


def convert(source: Path, destination: Path, config: Config) -> None:
    """Convert and write a detector; say what is taken, left out, and set otherwise."""
    converted = convert_detector(read_detector(source), build_model(config))
    for module, (taken, total) in converted.coverage.items():
        print(f'{module}: {taken} of {total} tensors from the detector')
    print(f'left out ({len(converted.dropped)}): {", ".join(converted.dropped) or "nothing"}')
    if converted.differences:
        print('before it is trained, it will not detect as the detector does; for that, it would need panoptic_head:')
        print('  ' + '\n  '.join(converted.differences))
    write(checkpoint_for(config, converted.state, source), destination)
    print(f'wrote {destination}')


def main() -> None:
    args = parse_args()
    try:
        check_paths(args.source, args.destination)
        convert(args.source, args.destination, Config.fromfile(args.config))
    except (CheckpointError, OSError) as error:
        sys.exit(f'error: {args.source} was not converted: {error}')


if __name__ == '__main__':
    main()
