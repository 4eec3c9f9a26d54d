"""Write the tables of figures into the pages: python tools/dev/write_tables.py.

Published figures come from projects/mask_dino/metafile.yml, figures measured here from the files of their trainings. A
page has a table between the comments `<!-- table: NAME -->` and `<!-- end of table -->`; NAME is instance, panoptic,
semantic, trained, released or zoo.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
METAFILE = ROOT / 'projects' / 'mask_dino' / 'metafile.yml'
DOCS = ROOT / 'docs'
TRIALS = ROOT / 'projects' / 'mask_dino' / 'trials' / 'recipes.json'
FROM_DINO = ROOT / 'projects' / 'mask_dino' / 'from_dino' / 'curves.json'
DEMO = 'P1'
"""Name of the training of `make demo` in the file of trials."""
PAGES = [
    ROOT / 'README.md',
    ROOT / 'projects' / 'mask_dino' / 'README.md',
    *sorted(DOCS.rglob('*.md')),
]
TABLE = re.compile(r'(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)', re.DOTALL)
# Table -> the task that its models are trained for, and the metrics in its columns.
METRICS = {
    'instance': ('Instance Segmentation', ['box AP', 'mask AP']),
    'panoptic': ('Panoptic Segmentation', ['PQ', 'box AP', 'mask AP', 'mIoU']),
    'semantic': ('Semantic Segmentation', ['mIoU', 'mIoU (best of three)', 'mIoU (ms+flip)']),
}

Model = dict[str, Any]


def read_models() -> list[Model]:
    """Return the models of the metafile for which figures are published."""
    models = yaml.safe_load(METAFILE.read_text())['Models']
    return [model for model in models if model.get('Results')]


def task_of(model: Model) -> str:
    """Return the task that a model is trained for: panoptic models have instance and semantic figures also."""
    tasks = [result['Task'] for result in model['Results']]
    return next(
        task
        for task in ('Panoptic Segmentation', 'Instance Segmentation', 'Semantic Segmentation')
        if task in tasks
    )


def metrics_of(model: Model) -> dict[str, float]:
    """Return all figures of a model."""
    metrics: dict[str, float] = {}
    for result in model['Results']:
        metrics |= result['Metrics']
    return metrics


def describe_backbone(model: Model) -> str:
    """Return the backbone, and Objects365 if the model starts from a detector that was trained on it."""
    metadata = model['Metadata']
    pretrained = 'Objects365' in metadata['Training Data']
    return metadata['Backbone'] + (', Objects365' if pretrained else '')


def describe_schedule(model: Model) -> str:
    """Return the length of the training."""
    metadata = model['Metadata']
    return (
        f'{metadata["Epochs"]} epochs'
        if 'Epochs' in metadata
        else f'{metadata["Iterations"] // 1000}k iterations'
    )


def link_config(model: Model, page: Path) -> str:
    """Return a link from a page to the config of a model; a documentation site has no configs, only their names."""
    config = Path(model['Config'])
    if page.is_relative_to(DOCS):
        return f'`{config.stem}`'
    return f'[{config.stem}]({os.path.relpath(ROOT / config, page.parent)})'


def make_figures(name: str, page: Path) -> list[list[str]]:
    """Return the rows of a table of figures, the header first."""
    task, columns = METRICS[name]
    models = [model for model in read_models() if task_of(model) == task]
    rows = [['Config', 'Backbone', 'Training', *columns, 'Notes', 'Figures are', 'Weights are']]
    for model in models:
        metrics, metadata = metrics_of(model), model['Metadata']
        figures = [f'{metrics[column]:.1f}' if column in metrics else '-' for column in columns]
        data = [item for item in metadata['Training Data'] if item != 'Objects365']
        notes = metadata.get('Notes') or ('' if data == ['COCO'] else ', '.join(data))
        weights = 'converted' if 'Released File' in metadata else 'none released'
        settings = [link_config(model, page), describe_backbone(model), describe_schedule(model)]
        rows.append([*settings, *figures, notes, 'published', weights])
    return rows


def make_released(page: Path) -> list[list[str]]:
    """Return the rows of the table of released files, the header first."""
    released = [model for model in read_models() if 'Released File' in model['Metadata']]
    rows = [
        [f'`{model["Metadata"]["Released File"]}`', link_config(model, page)] for model in released
    ]
    return [['Released file', 'Config'], *rows]


def make_trained(page: Path) -> list[list[str]]:
    """Return the rows of the models that were trained here, the header first."""
    trials = json.loads(TRIALS.read_text())
    # The demo was trained with several seeds; the table has the means.
    last = [trial['figures'][-1] for trial in trials if trial['name'] == DEMO]
    figures = {name: fmean(figures[name] for figures in last) for name in last[0]}
    reached = (
        f'box AP {100 * figures["coco/bbox_mAP"]:.0f}, mask AP {100 * figures["coco/segm_mAP"]:.0f}, '
        f'PQ {figures["coco_panoptic/PQ"]:.0f}, mIoU {figures["coco_semantic/mIoU"]:.0f}'
    )
    detector = json.loads(FROM_DINO.read_text())['from_dino'][-1]
    origin = ['measured here', 'trained here']
    config = dict(Config='configs/maskdino/maskdino_tiny_shapes-panoptic.py')
    other = dict(Config='projects/mask_dino/from_dino/maskdino_shapes.py')
    return [
        ['Config', 'Task', 'Figures', 'Figures are', 'Weights are'],
        [
            link_config(config, page),
            'panoptic, Shapes',
            reached,
            origin[0],
            f'{origin[1]}, by `make demo`',
        ],
        [
            link_config(other, page),
            'instance, Shapes',
            f'box AP {100 * detector["box"]:.1f}, mask AP {100 * detector["mask"]:.1f}',
            origin[0],
            f'{origin[1]}, from a DINO',
        ],
    ]


def make_zoo(page: Path) -> list[list[str]]:
    """Return the rows of the short table: models with released weights, and the model of the demo."""
    rows = [['Config', 'Task', 'Figures', 'Figures are', 'Weights are']]
    for model in read_models():
        if 'Released File' not in model['Metadata']:
            continue
        metrics = ', '.join(f'{name} {value:.1f}' for name, value in metrics_of(model).items())
        data = ', '.join(item for item in model['Metadata']['Training Data'])
        task = task_of(model).removesuffix(' Segmentation').lower()
        rows.append(
            [link_config(model, page), f'{task}, {data}', metrics, 'published', 'converted']
        )
    demo = make_trained(page)[1]
    return [*rows, demo]


def make_table(name: str, page: Path) -> str:
    """Return a table as Markdown."""
    others = {'zoo': make_zoo, 'released': make_released, 'trained': make_trained}
    if name in others:
        make_rows = others[name]
        rows = make_rows(page)
    else:
        rows = make_figures(name, page)
    separator = ['---'] * len(rows[0])
    rows.insert(1, separator)
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def fill_tables(page: Path) -> str:
    """Return the text of a page with fresh tables."""
    return TABLE.sub(
        lambda match: f'{match[1]}{make_table(match[2], page)}{match[3]}', page.read_text()
    )


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        page.write_text(fill_tables(page))


if __name__ == '__main__':
    main()
