"""Image sizes and schedules follow from the data."""

import numpy as np
import pytest
from helpers.coco_folder import coco_content

from mask_dino.new_config.recipe import Recipe, choose_recipe, measure_coco, measure_sizes


def recipe_of(content: dict, channels: int = 256) -> Recipe:
    return choose_recipe(measure_coco(content), channels, 1e-4, 16)


def scene(width: int, height: int, object_side: float, count: int = 50) -> dict:
    """Return images of one size with one object of a given side each."""
    content = coco_content(count)
    for image in content['images']:
        image.update(width=width, height=height)
    for annotation in content['annotations']:
        annotation['area'] = object_side**2
    return content


def test_smaller_objects_need_larger_images():
    sides = [max(recipe_of(scene(4000, 3000, side)).image_size) for side in (400, 100, 60, 10)]
    assert sides == sorted(sides)
    assert sides[0] == 512
    assert sides[-1] == 1024


def test_small_networks_get_small_images():
    assert max(recipe_of(scene(4000, 3000, 20), channels=64).image_size) == 256


def test_sizes_have_the_proportions_of_the_images_and_are_multiples_of_32():
    assert recipe_of(scene(1920, 1080, 200)).image_size == (512, 288)
    assert recipe_of(scene(1080, 1920, 200)).image_size == (288, 512)
    mixed = measure_sizes(np.array([(1920, 1080), (1080, 1920)] * 5))
    width, height = choose_recipe(mixed, 256, 1e-4, 16).image_size
    assert width == height


@pytest.mark.parametrize('count', [1, 50, 3000, 20000])
def test_the_schedule_fits_the_number_of_images(count):
    recipe = choose_recipe(measure_sizes(np.full((count, 2), 640)), 256, 1e-4, 16)
    assert recipe.max_iters >= 1000
    assert 0 < recipe.warmup < recipe.milestone < recipe.max_iters
    assert recipe.interval <= recipe.max_iters
    assert recipe.epochs == pytest.approx(recipe.max_iters * recipe.batch_size / count, rel=0.5)


def test_the_learning_rate_follows_the_root_of_the_batch():
    assert recipe_of(scene(640, 480, 50)).lr == pytest.approx(1e-4 * (2 / 16) ** 0.5, rel=0.05)


def test_objects_without_an_area_are_measured_by_their_boxes():
    content = scene(640, 480, 50)
    for annotation in content['annotations']:
        del annotation['area']
        annotation['bbox'] = [0, 0, 64, 64]
    assert measure_coco(content).object_side == pytest.approx(0.1)
