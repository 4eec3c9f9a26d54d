"""Collect box and mask AP over the steps of the trainings of run.sh."""

import json
from importlib.metadata import version
from pathlib import Path

from mmengine.config import Config

from mask_dino.cli.help import make_parser

BOX, MASK = 'coco/bbox_mAP', 'coco/segm_mAP'


def evaluations(folder: Path) -> list[dict]:
    """Return the step and the figures of every evaluation in the last run in a folder."""
    logs = max(path for path in folder.glob('2*') if path.is_dir())
    training = logs / 'vis_data' / 'scalars.json'
    # A test is one before the first step.
    interval = (
        Config.fromfile(next(folder.glob('*.py'))).train_cfg.val_interval
        if training.exists()
        else 0
    )
    path = training if interval else next(logs.glob('*.json'))
    rows = [row for row in map(json.loads, path.read_text().splitlines()) if BOX in row]
    return [
        dict(step=number * interval, box=row[BOX], mask=row.get(MASK))
        for number, row in enumerate(rows, start=1)
    ]


def main() -> None:
    parser = make_parser(
        __doc__ or '',
        'python projects/mask_dino/from_dino/curves.py work_dirs/from_dino projects/mask_dino/from_dino/curves.json',
    )
    parser.add_argument('work', type=Path, metavar='WORK_DIR', help='folder that run.sh wrote')
    parser.add_argument('out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    work, out = args.work, args.out
    measured = {
        name: evaluations(work / name)
        for name in ('dino', 'converted', 'from_dino', 'from_scratch')
    }
    packages = ('torch', 'mmcv', 'mmengine', 'mmdet', 'mask_dino')
    measured['versions'] = {name: version(name) for name in packages}
    measured['command'] = 'PYTHON=.venv/bin/python projects/mask_dino/from_dino/run.sh'
    out.write_text(json.dumps(measured, indent=1) + '\n')


if __name__ == '__main__':
    main()
