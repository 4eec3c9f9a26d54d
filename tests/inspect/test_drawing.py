"""Pictures and pages of views whose numbers are chosen by hand."""

import json
import re

import numpy as np
import pytest

from mask_dino.inspect import LayerView, Truth, draw_layers, write_layers_page
from mask_dino.inspect.drawing import (
    BOX_COLOUR,
    LEVEL_COLOURS,
    draw_query,
    draw_truth,
)
from mask_dino.inspect.page import make_layers_page
from mask_dino.inspect.views import list_points

CLASSES = ('cat', 'dog </script><b>')
HEIGHT, WIDTH = 40, 60


def make_view(layer: int, heads: int = 1) -> LayerView:
    """Return a query with a mask in the lower right, a box in the middle and one point in each of two levels."""
    masks = np.zeros((1, HEIGHT, WIDTH), bool)
    masks[:, 30:, 40:] = True
    points = np.array([[[[[10.0, 10.0]], [[50.0, 10.0]]]]], np.float32)  # (1, 1, 2, 1, 2)
    weights = np.array([[[[0.8], [0.2]]]], np.float32)
    return LayerView(
        layer,
        np.array([7]),
        np.array([0]),
        np.array([1]),
        np.array([0.5], np.float32),
        masks,
        np.array([[20, 15, 30, 25]], np.float32),
        points[:, :heads],
        weights[:, :heads],
    )


@pytest.fixture
def views():
    return [make_view(-1, heads=0), make_view(0, heads=0), make_view(1)]


@pytest.fixture
def truth():
    masks = np.zeros((1, HEIGHT, WIDTH), bool)
    masks[:, 30:, 50:] = True
    return Truth(np.array([0]), np.array([[20, 15, 40, 25]], np.float32), masks)


def look(picture, x, y):
    """Return the RGB of the tile of 300 x 200 pixels at a point of the image."""
    return tuple(np.asarray(picture)[round(y * 5), round(x * 5)].tolist())


def test_a_tile_shows_mask_box_and_points_where_they_are():
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    picture = draw_query(image, make_view(1), 0, tile=300)
    assert picture.size == (300, 200)
    assert look(picture, 10, 10) == LEVEL_COLOURS[0]
    assert look(picture, 50, 10) == LEVEL_COLOURS[1]
    assert look(picture, 20, 20) == BOX_COLOUR
    assert look(picture, 30, 35) == (100, 100, 100)
    red, green, blue = look(picture, 50, 35)
    assert red > 140 and green < 90 and blue < 90
    without = draw_query(image, make_view(0, heads=0), 0, tile=300)
    assert look(without, 10, 10) == (100, 100, 100)


def test_the_area_of_a_point_is_proportional_to_its_weight():
    heavy, light = list_points(make_view(1), 0, largest=8)
    assert (heavy.x, heavy.y, heavy.level) == (10, 10, 0)
    assert (light.x, light.y, light.level) == (50, 10, 1)
    assert heavy.radius == 8
    assert light.radius**2 / heavy.radius**2 == pytest.approx(0.25)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture = np.asarray(draw_query(image, make_view(1), 0, tile=300))
    areas = [(picture == colour).all(-1).sum() for colour in LEVEL_COLOURS[:2]]
    assert areas[0] > 2 * areas[1] > 0


def test_a_picture_has_a_row_for_each_query_and_a_column_for_each_layer(views, truth):
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    small = draw_layers(image, views[:2], CLASSES)
    wide = draw_layers(image, views, CLASSES)
    annotated = draw_layers(image, views, CLASSES, truth=truth)
    two_models = draw_layers(image, views, CLASSES, truth=truth, beside=views[1:])
    assert small.shape[0] == wide.shape[0]
    column = wide.shape[1] - small.shape[1]
    assert annotated.shape[1] == wide.shape[1] + column
    assert two_models.shape[1] == annotated.shape[1]
    assert two_models.shape[0] > annotated.shape[0] + 160
    assert column >= 240


@pytest.mark.parametrize('shape', [(128, 128), (2000, 1500), (30, 3000), (1, 1)])
def test_images_of_any_size_can_be_drawn(shape):
    view = make_view(1)._replace(masks=np.ones((1, *shape), bool))
    image = np.zeros((*shape, 3), np.uint8)
    assert draw_layers(image, [view], CLASSES).shape[2] == 3
    truth = Truth(np.array([0]), np.zeros((1, 4), np.float32), np.ones((1, *shape), bool))
    assert max(draw_truth(image, truth, 0, 100).size) == 100


def read_data(page):
    content = re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL).group(1)
    return json.loads(content)


def test_a_page_holds_all_numbers_and_needs_no_network(tmp_path, views, truth):
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    path = tmp_path / 'new' / 'page.html'
    write_layers_page(path, image, views, CLASSES, truth=truth, title='cats & dogs')
    page = path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ['page.html']
    assert not re.search(r'(https?|ftp|file)://|@import|url\(|\bsrc\s*=', page)
    assert "default-src 'none'" in page
    assert '<title>cats &amp; dogs</title>' in page
    data = read_data(page)
    assert data['layers'] == ['encoder', 'layer 0', 'layer 1']
    assert data['objects'] == ['1: cat, query 7']
    [model] = data['models']
    last = model['objects'][0]['layers'][2]
    assert last['label'] == CLASSES[1]
    assert last['box'] == [20, 15, 30, 25]
    assert [point[:2] for point in last['points']] == [[10, 10], [50, 10]]
    assert [point[3] for point in last['points']] == [0, 1]
    assert last['iou'] == [0.5, 0.5]
    assert model['objects'][0]['layers'][0]['points'] == []
    images = [data['image'], *data['truth'], last['mask']]
    assert all(source.startswith('data:image/') for source in images)


def test_names_of_classes_cannot_end_the_script(views):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    page = make_layers_page(image, views, CLASSES, title='<script>alert(1)</script>')
    assert page.count('</script>') == 2
    assert '<b>' not in page
    assert '<script>alert' not in page


def test_a_page_of_two_models_pairs_the_rows_by_object(views, truth):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    other = [view._replace(queries=np.array([3])) for view in views[1:]]
    data = read_data(make_layers_page(image, views, CLASSES, truth=truth, beside=other))
    assert [model['name'] for model in data['models']] == ['Mask DINO', 'Mask2Former']
    assert [layer['name'] for layer in data['models'][1]['objects'][0]['layers']] == [
        'layer 0',
        'layer 1',
    ]


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, views):
    folder = tmp_path / 'page.html'
    folder.mkdir()
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(OSError, match='page'):
        write_layers_page(folder, image, views, CLASSES)
    assert [file.name for file in tmp_path.iterdir()] == ['page.html']
