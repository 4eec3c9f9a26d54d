"""Check the data of a config before training: files, annotations, images, classes.

Every finding is one line. An error would stop a training before its first step, and the line names the remedy.
"""

import argparse
import contextlib
import logging
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mask_dino.cli.common import UsageError, add_config_options, merge_options
from mask_dino.cli.help import make_parser
from mask_dino.datasets.checks.loaders import check_config
from mask_dino.messages import error_messages, missing_file


def parse_args() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/misc/check_dataset.py my_configs/mine.py --images',
        exit_codes='0: nothing would stop a training; 1: an error would; 2: wrong arguments',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--images', action='store_true', help='also decode every image, which takes long'
    )
    add_config_options(parser)
    return parser, parser.parse_args()


def main() -> None:
    """Check the data of a config and print the findings."""
    parser, args = parse_args()
    if not Path(args.config).is_file():
        parser.error(missing_file('config', args.config))
    config = Config.fromfile(args.config)
    try:
        merge_options(config, args.cfg_options)
    except UsageError as error:
        parser.error(str(error))
    init_default_scope(config.get('default_scope', 'mmdet'))
    with contextlib.redirect_stdout(None):  # pycocotools prints its progress
        findings = check_config(config, args.images)
    for level, message in findings:
        print(f'{logging.getLevelName(level).lower()}: {message}')
    sys.exit(1 if error_messages(findings) else 0)


if __name__ == '__main__':
    main()
