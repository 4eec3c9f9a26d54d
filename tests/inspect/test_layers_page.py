"""The page of layers in a browser."""

import numpy as np
import pytest
from helpers.browser import watch_requests

from mask_dino.inspect import LayerView, Truth, write_layers_page

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 40, 60


def make_view(layer: int, heads: int) -> LayerView:
    """Return two queries; each has two points in each of two levels, where there is attention."""
    generator = np.random.default_rng(layer + 1)
    return LayerView(
        layer,
        np.array([7, 9]),
        np.array([0, 1]),
        np.array([1, 0]),
        np.array([0.5, 0.25 * layer + 0.25], np.float32),
        generator.random((2, HEIGHT, WIDTH)) > 0.5,
        np.array([[20, 15, 30, 25], [5, 5, 10 + layer, 12]], np.float32),
        generator.random((2, heads, 2, 2, 2), np.float32) * 40,
        generator.random((2, heads, 2, 2), np.float32),
    )


@pytest.fixture
def page(browser, tmp_path):
    """Open a page of three layers and two objects."""
    views = [make_view(-1, 0), make_view(0, 0), make_view(1, 1)]
    truth = Truth(np.array([1, 0]), views[0].boxes, np.ones((2, HEIGHT, WIDTH), bool))
    path = tmp_path / 'layers.html'
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    write_layers_page(path, image, views, ('cat', 'dog'), truth=truth, title='An image')
    page = browser.new_page()
    page.errors = []
    page.on('pageerror', lambda error: page.errors.append(str(error)))
    page.on(
        'console',
        lambda message: page.errors.append(message.text) if message.type == 'error' else None,
    )
    hosts = watch_requests(page)
    page.goto(path.as_uri())
    yield page
    assert not page.errors
    assert not hosts
    page.close()


def caption(page):
    return page.inner_text('figcaption')


def test_the_slider_the_choice_and_the_switches_change_the_picture(page):
    assert page.inner_text('#layer-name') == 'layer 1'
    assert page.locator('svg:visible').count() == 1
    assert '4 points are sampled' in caption(page)
    assert page.locator('circle').count() == 4
    page.uncheck('#level-0')
    assert page.locator('circle').count() == 2
    page.uncheck('#show-points')
    assert page.locator('circle').count() == 0
    page.uncheck('#show-box')
    assert page.locator('figure rect').count() == 0
    images = page.locator('figure image').count()
    page.uncheck('#show-mask')
    assert page.locator('figure image').count() == images - 1
    page.check('#show-truth')
    assert page.locator('figure image').count() == images
    before = caption(page)
    page.select_option('#object', '1')
    assert caption(page) != before and 'cat' in caption(page)
    page.fill('#layer', '0')
    assert page.inner_text('#layer-name') == 'encoder'
    assert 'No points are sampled here' in caption(page)


def test_keys_do_what_the_controls_do(page):
    page.keyboard.press('ArrowLeft')
    assert page.inner_text('#layer-name') == 'layer 0'
    page.keyboard.press('ArrowRight')
    assert page.inner_text('#layer-name') == 'layer 1'
    page.keyboard.press('ArrowDown')
    assert page.input_value('#object') == '1'
    page.keyboard.press('p')
    assert page.locator('circle').count() == 0
    page.keyboard.press('p')
    page.keyboard.press('2')
    assert page.locator('circle').count() == 2
    page.focus('#layer')
    page.keyboard.press('ArrowLeft')  # the slider moves once, not twice
    assert page.inner_text('#layer-name') == 'layer 0'


def test_pictures_have_a_text_that_follows_them(page):
    label = page.get_attribute('figure svg', 'aria-label')
    assert 'layer 1' in label and 'dog, score 0.50' in label
    assert 'IoU' in label
    page.keyboard.press('ArrowLeft')
    assert 'layer 0' in page.get_attribute('figure svg', 'aria-label')
    assert page.inner_text('tr[aria-current] th') == 'layer 0'
    assert page.locator('tbody tr').count() == 3
