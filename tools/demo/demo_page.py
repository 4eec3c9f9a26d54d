"""The page with which the demo ends: figures, curves, pictures and the layers of two objects in one file."""

import html
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image

from mask_dino.files import write_whole
from mask_dino.inspect import Truth, draw_layers, inspect_layers
from mask_dino.inspect.images import read_image
from mask_dino.inspect.networks import find_labels
from mask_dino.inspect.page import encode_image, make_layers_page
from mask_dino.inspect.pictures import (
    Segment,
    draw_segments,
    list_instances,
    list_panoptic,
    list_semantic,
    list_truth,
)
from mask_dino.inspect.truth import read_truth
from mask_dino.inspect.views import LayerView, pick_queries

SIDE = 340
"""Longer side of a picture in pixels, about as wide as a browser shows it, so that names keep their size."""
SCORE_THR = 0.3
"""Instances with a lower score are not drawn."""
LAYERED = 2
"""Objects whose layers are shown: the two largest things of the first image that has so many."""
SENTENCES = {
    'coco/bbox_mAP': 'Box AP: how well boxes fit the objects. The mean over the classes of things and over ten '
    'thresholds of overlap, from 0.50 to 0.95.',
    'coco/segm_mAP': 'Mask AP: the same for the outlines of the objects.',
    'coco_panoptic/PQ': 'PQ, panoptic quality: how well the image is divided into things and stuff.',
    'coco_semantic/mIoU': 'mIoU: the overlap of predicted and true areas of a class, the mean over all classes.',
}
PERCENT = ('coco_panoptic/PQ', 'coco_semantic/mIoU')

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 0 auto; padding: 1rem; color: #1a1a1e;
  background: #fff; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #ccc; vertical-align: top; }
td.value { font-size: 1.6rem; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: .6rem; margin-bottom: 1.2rem; }
figure { margin: 0; }
figcaption { color: #444; }
iframe { width: 100%; height: 60rem; border: 1px solid #ccc; }
"""


class Result(NamedTuple):
    """One image with its ground truth and the results of the model."""

    path: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    truth: Truth
    sample: BaseDataElement


def write_page(
    path: Path, runner: Runner, metrics: dict[str, float], indices: Sequence[int], log_dir: Path
) -> None:
    """Predict on images of the test, draw them, and write the page, which needs no network.

    Args:
        metrics: Of the test.
        indices: Of the images in the data set of the test.
        log_dir: Folder of the training, below which are its figures.

    Raises:
        OSError: If the page cannot be written.
    """
    dataset = runner.test_dataloader.dataset
    results = [predict(runner, dataset, index) for index in indices]
    sections = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>Mask DINO on Shapes</title><style>{STYLE}</style></head><body>',
        '<h1>Mask DINO on Shapes</h1>',
        '<p>A small Mask DINO, trained from scratch on generated pictures, and what it finds in '
        f'{len(dataset)} others.</p>',
        describe_metrics(metrics),
        show_curves(read_scalars(log_dir)),
        show_pictures(results, dataset.metainfo),
        show_layers(runner, results, dataset.metainfo['classes']),
        '</body></html>',
    ]
    write_whole(path, '\n'.join(sections).encode())


@torch.no_grad()
def predict(runner: Runner, dataset: BaseDataset, index: int) -> Result:
    """Return the results of one image of a data set."""
    item = dataset[index]
    truth = read_truth(item['data_samples'], find_labels(runner.model))
    [sample] = runner.model.test_step(pseudo_collate([item]))
    image = read_image(sample.img_path)[..., ::-1].copy()
    return Result(sample.img_path, image, truth, sample)


def describe_metrics(metrics: dict[str, float]) -> str:
    """Return a table: a figure and a sentence in each row."""
    rows = []
    for name, sentence in SENTENCES.items():
        value = metrics[name] / (100 if name in PERCENT else 1)
        short, _, rest = sentence.partition(': ')
        rows.append(
            f'<tr><th scope="row">{short}</th><td class="value">{value:.2f}</td><td>{rest}</td></tr>'
        )
    body = '\n'.join(rows)
    return f'<h2>Figures</h2><p>Each lies between 0 and 1; 1 is perfect.</p><table>{body}</table>'


def read_scalars(log_dir: Path) -> list[dict[str, float]]:
    """Return the figures that a training has logged, also one that was stopped and resumed."""
    lines: list[dict[str, float]] = []
    for file in sorted(log_dir.glob('*/vis_data/scalars.json')):
        lines.extend(json.loads(line) for line in file.read_text().splitlines())
    return lines


def show_curves(lines: Iterable[dict[str, float]]) -> str:
    """Return a picture of the losses and of the metrics over the steps of a training."""
    losses, metrics = collect_curves(lines)
    if not (losses or metrics):
        return ''
    figure = Figure(figsize=(13, 4.5), dpi=100, layout='constrained')
    FigureCanvasAgg(figure)
    loss_axes, metric_axes = figure.subplots(1, 2)
    draw_curves(loss_axes, losses, 'losses of the last layer')
    draw_curves(metric_axes, metrics, 'metrics on unseen images')
    metric_axes.set_ylim(0, 1)
    if losses:
        loss_axes.set_yscale('log')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    picture = encode_image(np.asarray(Image.open(buffer).convert('RGB')), 'PNG')
    ends = ', '.join(
        f'{name} {values[-1][1]:.2f}' for name, values in {**losses, **metrics}.items()
    )
    return (
        f'<h2>Curves</h2><figure><img src="{picture}" alt="Losses and metrics over the steps of the training; at its '
        f'end: {ends}"><figcaption>Losses fall, metrics rise. Each loss is weighted as in the training.'
        '</figcaption></figure>'
    )


Curves = dict[str, list[tuple[float, float]]]


def collect_curves(lines: Iterable[dict[str, float]]) -> tuple[Curves, Curves]:
    """Return the losses of the last layer and the metrics, each by its name as pairs of step and value."""
    losses: Curves = {}
    metrics: Curves = {}
    values = [(name, line['step'], value) for line in lines for name, value in line.items()]
    for name, step, value in values:
        if name.startswith('loss_'):
            losses.setdefault(name.removeprefix('loss_'), []).append((step, value))
        elif name in SENTENCES:
            share = value / (100 if name in PERCENT else 1)
            short = re.split('[:,]', SENTENCES[name])[0]
            metrics.setdefault(short, []).append((step, share))
    return losses, metrics


def draw_curves(axes: object, curves: Curves, title: str) -> None:
    """Draw curves over the steps into axes of matplotlib."""
    for name, values in curves.items():
        # All steps, then all values.
        steps, heights = zip(*sorted(values), strict=True)
        axes.plot(steps, heights, label=name, marker='o' if len(values) < 20 else '')
    axes.set(title=title, xlabel='step')
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()


def show_pictures(results: Sequence[Result], metainfo: dict) -> str:
    """Return a grid: for each image its ground truth, instances, panoptic and semantic map."""
    classes, palette = metainfo['classes'], metainfo['palette']
    rows = []
    for result in results:
        parts = {
            'ground truth': list_truth(result.truth, classes),
            'instances': list_instances(result.sample, classes, SCORE_THR),
            'panoptic map': list_panoptic(result.sample, classes),
            'semantic map': list_semantic(result.sample, classes),
        }
        figures = []
        for name, segments in parts.items():
            picture = draw_segments(result.image, segments, palette, SIDE)
            figures.append(show_picture(name, picture, segments))
        rows.append(f'<div class="row">{"".join(figures)}</div>')
    body = '\n'.join(rows)
    return f'<h2>Pictures</h2><p>Images that the model has not seen in training.</p>{body}'


def show_picture(name: str, picture: np.ndarray, segments: Sequence[Segment]) -> str:
    """Return one picture with its name, and its content in words."""
    content = html.escape(', '.join(segment.text for segment in segments) or 'nothing')
    source = encode_image(picture, 'JPEG')
    return f'<figure><img src="{source}" alt="{name}: {content}"><figcaption>{name}</figcaption></figure>'


def show_layers(runner: Runner, results: Sequence[Result], classes: Sequence[str]) -> str:
    """Return the layers of two objects, as a picture and as a page to try."""
    model = runner.model
    num_things = find_labels(model).num_things
    result = next(
        (one for one in results if (one.truth.labels < num_things).sum() >= LAYERED), None
    )
    if result is None:
        return ''
    views = inspect_layers(model, result.path, config=runner.cfg, truth=result.truth)
    chosen = pick_queries(views, choose_things(views[-1], result.truth, num_things))
    picture = draw_layers(result.image, chosen, classes, truth=result.truth)
    page = make_layers_page(result.image, chosen, classes, truth=result.truth)
    return (
        '<h2>Layer by layer</h2><p>How the queries of two objects find them: the selected token of the encoder, the '
        'query before the first decoder layer, and after each layer.</p>'
        f'<figure><img src="{encode_image(picture, "PNG")}" alt="Masks, boxes and sampled points of two objects, '
        'layer by layer; the page below has them in words"></figure>'
        f'<iframe title="Layers of two objects, with a slider" srcdoc="{html.escape(page)}"></iframe>'
    )


def choose_things(view: LayerView, truth: Truth, num_things: int) -> list[int]:
    """Return the places of the queries of the largest things."""
    areas = truth.masks[view.objects].sum((1, 2))
    areas[truth.labels[view.objects] >= num_things] = 0
    return sorted((-areas).argsort(kind='stable')[:LAYERED].tolist())
