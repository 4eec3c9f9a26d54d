"""What a single picture of Shapes promises."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest

from mask_dino.datasets.shapes import CLASSES, PALETTE, STUFF, THINGS, VOID, World
from mask_dino.datasets.shapes.outlines import (
    OUTLINES,
    REACH,
    RING_HOLE,
    STAR_NOTCH,
    STAR_TIP,
    Form,
    Layer,
    paint_form,
)
from mask_dino.datasets.shapes.scene import (
    MIN_AREA,
    MIN_VISIBLE_SHARE,
    SAMPLES,
    Scene,
    compose_scene,
)

AREAS = {  # of the unsqueezed outlines of radius 1
    'ellipse': math.pi,
    'rectangle': 1.8**2,
    'triangle': 1.8**2 * 0.58,
    'star': 5 * STAR_TIP * STAR_NOTCH * math.sin(math.pi / 5),
    'ring': math.pi * (1 - RING_HOLE**2),
}


def draw(index: int, **options: int) -> Scene:
    return compose_scene(World(**options), np.random.default_rng((0, index)))


@pytest.fixture(scope='module')
def scenes() -> list[Scene]:
    return [draw(index, size=64) for index in range(300)]


def things(scene: Scene) -> list[tuple[int, Layer]]:
    return [(index, layer) for index, layer in enumerate(scene.layers) if len(layer.forms) == 1]


def test_every_class_has_an_outline_and_a_colour():
    assert len(OUTLINES) == len(THINGS)
    assert len(set(PALETTE)) == len(PALETTE) == len(CLASSES)


@pytest.mark.parametrize('label', range(len(THINGS)))
@pytest.mark.parametrize(('angle', 'squeeze'), [(0, 1), (0.7, 1), (2.5, 0.6)])
def test_outlines_have_their_area_and_stay_within_reach(label, angle, squeeze):
    owner = np.zeros((300, 300), np.uint8)
    paint_form(Form(label, 50, 50, 30, angle, squeeze), owner, 1, samples=3)
    rows, cols = np.nonzero(owner)
    assert len(rows) / 9 == pytest.approx(AREAS[THINGS[label]] * squeeze * 30**2, rel=0.01)
    assert np.hypot((rows + 0.5) / 3 - 50, (cols + 0.5) / 3 - 50).max() < REACH * 30


@pytest.mark.parametrize('centre', [(0, 20), (64, 64), (-50, 20), (20, 120)])
def test_forms_are_cut_at_the_border(centre):
    wide, cut = np.zeros((3 * 264, 3 * 264), np.uint8), np.zeros((3 * 64, 3 * 64), np.uint8)
    paint_form(Form(3, centre[0] + 100, centre[1] + 100, 20, 0.3, 0.8), wide, 1, samples=3)
    paint_form(Form(3, *centre, 20, 0.3, 0.8), cut, 1, samples=3)
    assert np.array_equal(wide[300:492, 300:492], cut)


def test_the_same_stream_draws_the_same_scene_and_another_one_does_not():
    first, second, other = draw(7), draw(7), draw(8)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.owner, second.owner)
    assert first.layers == second.layers
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize('size', [32, 50, 128])
def test_pictures_have_the_size_asked_for(size):
    scene = draw(0, size=size)
    assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
    assert scene.owner.shape == (size, size) and scene.owner.dtype == np.uint8


def test_every_pixel_has_an_owner_of_some_extent(scenes):
    for scene in scenes:
        owners, areas = np.unique(scene.owner, return_counts=True)
        assert all(
            area >= MIN_AREA for owner, area in zip(owners, areas, strict=True) if owner != VOID
        )
        assert all(owner < len(scene.layers) for owner in owners if owner != VOID)
        assert np.mean(scene.owner == VOID) < 0.02


def test_pixels_belong_to_whoever_covers_most_of_them(scenes):
    for scene in scenes[:20]:
        samples = np.zeros((64 * SAMPLES, 64 * SAMPLES), np.uint8)
        for index, layer in enumerate(scene.layers):
            for form in layer.forms:
                paint_form(form, samples, index, SAMPLES)
        for index, _ in things(scene):
            share = cv2.blur((samples == index).astype(np.float32), (SAMPLES, SAMPLES))[
                1::SAMPLES, 1::SAMPLES
            ]
            assert (scene.owner == index)[share > 0.5].all()
            assert not (scene.owner == index)[share < 1 / SAMPLES].any()


def test_no_thing_is_hidden_too_far(scenes):
    for scene in scenes:
        for index, layer in things(scene):
            alone = np.zeros((64, 64), np.uint8)
            paint_form(layer.forms[0], alone, 1, samples=1)
            visible = np.count_nonzero(scene.owner == index)
            assert visible >= MIN_AREA
            assert (
                visible >= 0.8 * MIN_VISIBLE_SHARE * alone.sum()
            )  # one sample to a pixel is a rough measure


def test_things_occlude_one_another(scenes):
    def hidden(scene: Scene) -> bool:
        masks = [np.zeros((64, 64), np.uint8) for _ in things(scene)]
        for mask, (_, layer) in zip(masks, things(scene), strict=True):
            paint_form(layer.forms[0], mask, 1, samples=1)
        return bool(masks) and np.max(np.sum(masks, axis=0)) > 1

    assert np.mean([hidden(scene) for scene in scenes]) > 0.2


def test_all_that_may_occur_does(scenes):
    labels = np.array([layer.label for scene in scenes for _, layer in things(scene)])
    assert np.bincount(labels, minlength=len(THINGS)).min() > 0.15 * len(labels)
    counts = np.bincount([len(things(scene)) for scene in scenes])
    assert len(counts) == World().max_objects + 1 and counts.min() > 0
    assert 0.01 < counts[0] / len(scenes) < 0.1
    crowds = [any(len(layer.forms) > 1 for layer in scene.layers) for scene in scenes]
    assert 0 < np.mean(crowds) < 0.1
    stuff = [[layer.label for layer in scene.layers if not layer.forms] for scene in scenes]
    assert {len(kinds) for kinds in stuff} == {1, 2, 3}
    assert {label - len(THINGS) for kinds in stuff for label in kinds} == set(range(len(STUFF)))


def test_sides_range_from_a_twelfth_to_half_of_the_picture():
    layers = [layer for index in range(60) for _, layer in things(draw(index, size=128))]
    sides = np.array([2 * layer.forms[0].radius for layer in layers]) / 128
    assert 1 / 12 <= sides.min() < 0.1 and 0.4 < sides.max() <= 0.5
    quarters = np.histogram(np.log(sides), bins=4, range=(math.log(1 / 12), math.log(1 / 2)))[0]
    assert quarters.min() > 0.1 * len(sides)


@pytest.mark.parametrize('most', [0, 1, 3])
def test_max_objects_is_the_most(most):
    counts = {len(things(draw(index, size=32, max_objects=most))) for index in range(40)}
    assert max(counts) == most


def test_crowded_worlds_stay_valid():
    scene = draw(0, size=128, max_objects=100)
    assert len(things(scene)) > 8
    assert np.array_equal(np.unique(scene.owner[scene.owner != VOID])[-1:], [len(scene.layers) - 1])


def test_colour_does_not_give_the_class_away(scenes):
    seen = [
        (layer.label, scene.image[scene.owner == index])
        for scene in scenes
        for index, layer in things(scene)
    ]
    labels = np.array([label for label, _ in seen])
    for measure in (np.mean, np.std):
        values = np.array([measure(pixels, axis=0) for _, pixels in seen])
        means = np.array([values[labels == label].mean(axis=0) for label in range(len(THINGS))])
        assert (np.ptp(means, axis=0) < 0.35 * values.std(axis=0)).all()


def test_things_stand_out_from_what_surrounds_them(scenes):
    contrasts = []
    for scene in scenes:
        colours = [
            scene.image[scene.owner == index].mean(axis=0) for index in np.unique(scene.owner)
        ]
        contrasts += [np.linalg.norm(a - b) for a, b in pairwise(colours)]
    assert np.percentile(contrasts, 1) > 40
    assert np.percentile(contrasts, 10) < 115  # some of them barely


def test_texture_tells_the_stuff(scenes):
    roughness = {label: list[float]() for label in range(len(THINGS), len(CLASSES))}
    for scene in scenes:
        bumps = np.abs(cv2.Laplacian(scene.image.mean(axis=2), cv2.CV_64F))
        for index, layer in enumerate(scene.layers):
            inner = cv2.erode((scene.owner == index).astype(np.uint8), np.ones((5, 5), np.uint8))
            if not layer.forms and inner.sum() > 100:
                roughness[layer.label].append(bumps[inner > 0].mean())
    sky, ground, water = roughness.values()
    assert max(sky) < 2 < min(water)
    assert np.median(water) < min(np.median(ground), 40) and min(ground) > 5


@pytest.mark.parametrize(
    ('options', 'field'),
    [
        ({'size': 31}, 'size'),
        ({'size': 100000}, 'size'),
        ({'train': -1}, 'train'),
        ({'val': -1}, 'val'),
        ({'seed': -1}, 'seed'),
        ({'max_objects': -1}, 'max_objects'),
        ({'max_objects': 101}, 'max_objects'),
        ({'train': 0, 'val': 0}, 'train, val'),
    ],
)
def test_options_out_of_range_are_named(options, field):
    with pytest.raises(ValueError, match=f'^{field}: '):
        World(**options)
