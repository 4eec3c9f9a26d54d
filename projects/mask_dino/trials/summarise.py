"""Draw the results of run.py: tables on the screen, docs/ablation.png and docs/peers.png."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from run import ABLATION, HERE, PEERS, SEMANTIC

from mask_dino.cli.help import make_parser
from mask_dino.messages import format_table

OWN = ('full', 'mask_window')
"""The variants that stand beside the peers."""
BOX, MASK, SEMANTIC_IOU = 'coco/bbox_mAP', 'coco/segm_mAP', 'mIoU'


class Row(NamedTuple):
    """A variant in words, and its change in the paper: box and mask AP in points."""

    text: str
    paper: tuple[float, float] | None


# Paper (arXiv 2206.02777), ablation with ResNet-50 at 12 epochs on COCO: the full model has 45.7 and 41.4.
ROWS = {
    'full': Row('full model', None),
    'predicted_boxes': Row('no boxes from masks', (-1.2, 0.0)),
    'learned_queries': Row('learned queries instead of selected ones', (-2.1, -1.1)),
    'no_denoising': Row('no denoising', (-1.3, -1.1)),
    'box_denoising': Row('denoising of boxes only', None),
    'match_boxes': Row('matching by class and box', (-0.8, -0.9)),
    'match_masks': Row('matching by class and mask', (-0.8, -0.9)),
    'mask_window': Row('boxes from masks without stray pixels', None),
}
FULL_PAPER = '45.7 / 41.4'

Curve = list[dict]


def main() -> None:
    """Write tables and pictures."""
    parser = make_parser(__doc__ or '', 'python projects/mask_dino/trials/summarise.py')
    parser.add_argument(
        'results',
        nargs='?',
        type=Path,
        default=HERE / 'results',
        help='folder that run.py wrote (default: results beside this file)',
    )
    folder = parser.parse_args().results
    curves = read_curves(folder)
    measure_alike(curves, read_curves(folder / 'speed'))
    print(tabulate_ablation(curves))
    print()
    print(tabulate_peers(curves))
    print()
    print(tabulate_semantic(curves))
    draw_ablation(curves, HERE.parents[2] / 'docs/ablation.png')
    draw_peers(curves, HERE.parents[2] / 'docs/peers.png')


def read_curves(folder: Path) -> dict[str, dict[int, Curve]]:
    """Return the curve of each complete training, by name and seed."""
    curves: dict[str, dict[int, Curve]] = defaultdict(dict)
    for path in sorted(folder.glob('*.json')):
        record = json.loads(path.read_text())
        if record['is_finished']:
            curves[record['name']][record['seed']] = record['curve']
    return curves


def measure_alike(
    curves: dict[str, dict[int, Curve]], short_curves: dict[str, dict[int, Curve]]
) -> None:
    """Replace the seconds of curves by steps times the seconds of a step in a short training on an idle machine.

    The learning rate changes no time: both rates of a peer share the short training with the lower one.
    """
    for name, seeds in curves.items():
        short = short_curves.get(name.replace('-high', '-low'))
        if not short:
            continue
        before, last = short[0][-2:]
        of_step = (last['seconds'] - before['seconds']) / (last['step'] - before['step'])
        for point in (point for curve in seeds.values() for point in curve):
            point['seconds'] = point['step'] * of_step


def tabulate_ablation(curves: dict[str, dict[int, Curve]]) -> str:
    """Return the table of the parts, with the figures of the paper."""
    full = curves.get('full', {})
    rows = []
    for name in ABLATION:
        seeds = curves.get(name, {})
        if not seeds:
            continue
        changes = [compare(seeds, full, figure) for figure in (BOX, MASK)]
        paper = FULL_PAPER if name == 'full' else describe_paper(ROWS[name].paper)
        own = [describe(seeds, figure) for figure in (BOX, MASK)]
        difference = '' if name == 'full' else ' / '.join(changes)
        rows.append([ROWS[name].text, str(len(seeds)), *own, difference, paper])
    header = ['', 'seeds', 'box AP', 'mask AP', 'change, box / mask', 'paper']
    return format_table(header, rows)


def describe_paper(change: tuple[float, float] | None) -> str:
    """Write a change of the paper."""
    return '-' if change is None else f'{change[0]:+.1f} / {change[1]:+.1f}'


def describe(seeds: dict[int, Curve], figure: str) -> str:
    """Write mean and standard deviation of the last points of the curves, in points of AP."""
    values = [100 * curve[-1][figure] for curve in seeds.values()]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f'{statistics.mean(values):.1f} ± {spread:.1f}'


def compare(seeds: dict[int, Curve], full: dict[int, Curve], figure: str) -> str:
    """Write the mean change from the full model of the same seed, and how many seeds have its sign."""
    pairs = [(seeds[seed][-1], full[seed][-1]) for seed in seeds.keys() & full.keys()]
    changes = [100 * (last[figure] - of_full[figure]) for last, of_full in pairs]
    if not changes:
        return '-'
    mean = statistics.mean(changes)
    agreeing = sum(change * mean > 0 for change in changes)
    return f'{mean:+.1f} ({agreeing} of {len(changes)})'


def tabulate_peers(curves: dict[str, dict[int, Curve]]) -> str:
    """Return the table of the peers: box and mask AP, and seconds of training."""
    rows = []
    for name in (*OWN, *PEERS):
        seeds = curves.get(name, {})
        if 0 not in seeds:
            continue
        last = seeds[0][-1]
        mask = f'{100 * last[MASK]:.1f}' if MASK in last else '-'
        lr = PEERS[name].lr if name in PEERS else 2e-3
        rows.append([name, f'{lr:g}', f'{100 * last[BOX]:.1f}', mask, f'{last["seconds"]:.0f}'])
    return format_table(['', 'learning rate', 'box AP', 'mask AP', 'seconds'], rows)


def tabulate_semantic(curves: dict[str, dict[int, Curve]]) -> str:
    """Return the table of the semantic models: mIoU and seconds of training."""
    rows = []
    for name, trial in SEMANTIC.items():
        for curve in curves.get(name, {}).values():
            lr = f'{trial.lr or 2e-3:g}'
            last = curve[-1]
            rows.append([name, lr, f'{last[SEMANTIC_IOU]:.1f}', f'{last["seconds"]:.0f}'])
    return format_table(['', 'learning rate', 'mIoU', 'seconds'], rows)


def draw_ablation(curves: dict[str, dict[int, Curve]], path: Path) -> None:
    """Draw box and mask AP of the parts against steps: means over seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharex=True)
    for axis, measure, title in zip(axes, (BOX, MASK), ('box AP', 'mask AP'), strict=True):
        for name in (name for name in ABLATION if name in curves):
            seeds = list(curves[name].values())
            steps = [point['step'] for point in seeds[0]]
            width = 2.5 if name == 'full' else 1.2
            axis.plot(steps, mean_curve(seeds, measure), label=ROWS[name].text, linewidth=width)
        axis.set(title=title, xlabel='steps')
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc='upper left')
    save(figure, path)


def mean_curve(seeds: list[Curve], measure: str) -> list[float]:
    """Return the mean over seeds of each point, in points of AP."""
    points = zip(*seeds, strict=True)  # the same step of all seeds
    return [100 * statistics.mean(point[measure] for point in of_seeds) for of_seeds in points]


def draw_peers(curves: dict[str, dict[int, Curve]], path: Path) -> None:
    """Draw box AP, mask AP and mIoU against steps, and box AP against seconds."""
    instance, semantic = (*OWN, *PEERS), tuple(SEMANTIC)
    panels = [
        (instance, BOX, 'step', 'box AP'),
        (instance, MASK, 'step', 'mask AP'),  # DINO has no masks
        (instance, BOX, 'seconds', 'box AP'),
        (semantic, SEMANTIC_IOU, 'step', 'mIoU'),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(20, 4.2))
    for axis, (names, measure, across, title) in zip(axes, panels, strict=True):
        for name in names:
            points = [point for point in curves.get(name, {}).get(0, []) if measure in point]
            scale = 1 if measure == SEMANTIC_IOU else 100
            xs = [point[across] for point in points]
            ys = [scale * point[measure] for point in points]
            label = ROWS[name].text if name in OWN else name
            axis.plot(xs, ys, '--' if name.endswith('low') else '-', label=label)
        axis.set(title=title, xlabel='steps' if across == 'step' else 'seconds of training')
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    axes[-1].legend(fontsize=8)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure and print its path."""
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == '__main__':
    main()
