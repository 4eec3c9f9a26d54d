"""What is let through becomes the mask it says, and what pycocotools cannot take is held back."""

import math

import numpy as np
import pycocotools.mask as coco_mask
import pytest

from mask_dino.datasets.checks.masks import (
    EMPTY_CODE,
    decode_counts,
    mask_extent,
    mask_problem,
    usable_mask,
)

WIDTH, HEIGHT = 20, 10
SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]
MALFORMED = [
    [],
    [1, 1, 5, 5],
    [1, 1, 5, 1, 5],
    [1, 1, 5, 1, 5, 5, 1],
    [math.nan, 1, 5, 1, 5, 5],
    [1, 1, math.inf, 1, 5, 5],
    ['1', '1', '5', '1', '5', '5'],
    [[1, 1], [5, 1], [5, 5]],
    [1, 1, None, 1, 5, 5],
    'square',
    7,
    None,
]
INVISIBLE = [
    [1, 1, 5, 5, 3, 3, 1, 1][:2] * 3,
    [1, 5, 9, 5, 4, 5],
    [20, 1, 30, 1, 30, 5],
    [-9, 1, 0, 1, -1, 5],
    [1, -5, 9, -5, 9, 0],
    [1, 10, 9, 10, 9, 12],
]


def decoded(segmentation: list | dict) -> np.ndarray:
    codes = coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)
    return coco_mask.decode(coco_mask.merge(codes) if isinstance(segmentation, list) else codes)


@pytest.mark.parametrize('polygon', [*MALFORMED, *INVISIBLE], ids=str)
def test_a_bad_polygon_goes_and_takes_no_other_with_it(polygon):
    assert mask_problem([polygon], WIDTH, HEIGHT)
    assert mask_problem([SQUARE, polygon], WIDTH, HEIGHT)
    assert usable_mask([polygon], WIDTH, HEIGHT) is None
    assert usable_mask([polygon, SQUARE, polygon], WIDTH, HEIGHT) == [SQUARE]


@pytest.mark.parametrize(
    'polygon', [SQUARE, [-5, -5, 30, -5, 30, 30, -5, 30], [-4.5, 2, 3.5, 2.5, 1, 8]], ids=str
)
def test_a_good_polygon_becomes_pixels(polygon):
    assert mask_problem([polygon], WIDTH, HEIGHT) is None
    assert usable_mask([polygon], WIDTH, HEIGHT) == [polygon]
    assert decoded([polygon]).any()


@pytest.mark.parametrize('segmentation', [None, [], {}, '', 'square', 3], ids=str)
def test_what_is_no_segmentation_at_all(segmentation):
    assert mask_problem(segmentation, WIDTH, HEIGHT)
    assert usable_mask(segmentation, WIDTH, HEIGHT) is None


@pytest.mark.parametrize('density', [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize('size', [(HEIGHT, WIDTH), (1, 1), (300, 400)])
def test_compressed_counts_are_read_as_pycocotools_writes_them(density, size):
    mask = np.asfortranarray(np.random.rand(*size) < density).astype(np.uint8)
    code = coco_mask.encode(mask)
    runs = decode_counts(code['counts'])
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    np.testing.assert_array_equal(flat, mask.flatten(order='F'))
    for counts in (code['counts'].decode(), runs.tolist()):
        expected = None if mask.any() else EMPTY_CODE
        assert mask_problem(dict(size=list(size), counts=counts), size[1], size[0]) == expected
        assert mask_problem(dict(size=list(size), counts=counts), size[1] + 1, size[0])


def test_damaged_run_length_codes_are_held_back():
    pixels = WIDTH * HEIGHT
    whole = coco_mask.encode(np.asfortranarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)))[
        'counts'
    ].decode()
    size = [HEIGHT, WIDTH]
    good = [
        dict(size=size, counts=[50, 100, 50]),
        dict(size=size, counts=whole),
        dict(size=size, counts=[0, pixels]),
    ]
    assert [mask_problem(code, WIDTH, HEIGHT) for code in good] == [None] * 3
    bad = [
        dict(size=size, counts=[50, 100]),
        dict(size=size, counts=[50, 100, 51]),
        dict(size=size, counts=[50, 200, -50]),
        dict(size=size, counts=[50.5, 99.5, 50]),
        dict(size=size, counts=[]),
        dict(size=size, counts=['50', '150']),
        dict(size=size, counts=[[50, 150]]),
        dict(size=size, counts=whole[:-3]),
        dict(size=size, counts=whole + '1'),
        dict(size=size, counts='0' * 40),
        dict(size=size, counts='o' * 40),
        dict(size=size, counts='grüße'),
        dict(size=size, counts=''),
        dict(size=size, counts=None),
        dict(size=size),
        dict(size=[WIDTH, HEIGHT], counts=whole),
        dict(size=None, counts=whole),
        dict(size=7, counts=whole),
        dict(counts=whole),
    ]
    assert [code for code in bad if mask_problem(code, WIDTH, HEIGHT) is None] == []
    assert [code for code in bad if usable_mask(code, WIDTH, HEIGHT) is not None] == []


@pytest.mark.parametrize('seed', range(8))
def test_the_extent_of_a_mask_is_that_of_its_pixels(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[rng.integers(HEIGHT, size=3), rng.integers(WIDTH, size=3)] = 1
    mask[:, 3:5] |= np.uint8(seed % 4 == 0)  # runs go on in the next column
    ys, xs = mask.nonzero()
    expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    compressed = coco_mask.encode(np.asfortranarray(mask))
    runs = decode_counts(compressed['counts']).tolist()
    for counts in (compressed['counts'].decode(), runs):
        assert mask_extent(dict(size=[HEIGHT, WIDTH], counts=counts), WIDTH, HEIGHT) == expected


@pytest.mark.parametrize(
    'polygon',
    [
        [1, 1, 5, 5, 3, 3],
        [1, 1, 9, 1, 9, 1.4, 1, 1.4],
        [2.1, 2.1, 2.2, 2.1, 2.2, 2.2],
        [-9, 5, 5, -9, -9, -9],
    ],
)
def test_polygons_are_problems_exactly_where_pycocotools_finds_no_pixel(polygon):
    area = coco_mask.area(coco_mask.frPyObjects([polygon], HEIGHT, WIDTH))[0]
    assert (mask_problem([polygon], WIDTH, HEIGHT) is None) == (area > 0)
