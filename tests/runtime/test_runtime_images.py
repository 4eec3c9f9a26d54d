import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import Resize
from mmseg.datasets.transforms import ResizeShortestEdge
from PIL import Image

pytest.importorskip('onnxruntime')

from helpers.exported import write_image

from mask_dino.runtime.images import ImageError, load_image, resize_image, resized_size
from mask_dino.runtime.metadata import ResizeRule


def random_image(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pixels_are_resized_as_opencv_does_bit_by_bit():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width, new_height, new_width = rng.integers(1, 200, 4).tolist()
        image = random_image(rng, height, width)
        expected = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        assert (resize_image(image, new_height, new_width) == expected).all()


@pytest.mark.parametrize(('height', 'width'), [(2, 2), (64, 96), (31, 64), (480, 33)])
def test_halves_doubles_and_single_axes_are_resized_as_opencv_does(height, width):
    image = random_image(np.random.default_rng(1), height, width)
    for size in (
        (height // 2, width // 2),
        (height * 2, width * 2),
        (height, width // 2),
        (height // 2, width),
    ):
        expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        assert (resize_image(image, *size) == expected).all()


SIZES = [
    (480, 640),
    (640, 480),
    (427, 640),
    (1, 500),
    (333, 500),
    (3000, 4000),
    (612, 612),
    (13, 17),
]


@pytest.mark.parametrize(
    ('rule', 'transform'),
    [
        (ResizeRule((1333, 800), keep_ratio=True), Resize(scale=(1333, 800), keep_ratio=True)),
        (ResizeRule((2048, 512), keep_ratio=True), Resize(scale=(2048, 512), keep_ratio=True)),
        (ResizeRule((64, 48)), Resize(scale=(64, 48))),
        (ResizeRule(factor=(0.3, 0.7)), Resize(scale_factor=(0.3, 0.7))),
        (ResizeRule(factor=(0.3, 0.3), keep_ratio=True), Resize(scale_factor=0.3, keep_ratio=True)),
        (ResizeRule(shortest_edge=64, max_size=100), ResizeShortestEdge(scale=64, max_size=100)),
        (
            ResizeRule(shortest_edge=33, max_size=1000),
            ResizeShortestEdge(scale=(90, 33), max_size=1000),
        ),
    ],
)
def test_sizes_are_those_of_the_frameworks(rule, transform):
    for height, width in SIZES:
        if min(height, width) * 0.3 < 1:
            continue
        image = np.zeros((height, width, 3), np.uint8)
        expected = transform.transform(dict(img=image))['img'].shape[:2]
        assert resized_size((height, width), rule) == expected


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp'])
def test_files_are_read_as_mmcv_reads_them(tmp_path, suffix):
    path = write_image(tmp_path / f'image{suffix}', 61, 83)
    expected = mmcv.imread(str(path), channel_order='rgb')
    difference = np.abs(load_image(path).astype(int) - expected)
    assert difference.max() <= (0 if suffix in ('.png', '.bmp') else 2)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / 'photo.jpg', 40, 64, exif=exif)
    expected = mmcv.imread(str(path), channel_order='rgb')
    image = load_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 2


@pytest.mark.parametrize('mode', ['L', 'LA', 'P', 'RGBA', '1', 'I;16'])
def test_other_kinds_of_pixels_become_rgb_as_mmcv_makes_them(tmp_path, mode):
    path = write_image(tmp_path / 'image.png', 40, 64)
    grey = Image.open(path).convert('L')
    if mode == 'I;16':
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(path)
    else:
        Image.open(path).convert(mode).save(path)
    expected = mmcv.imread(str(path), channel_order='rgb')
    assert (load_image(path) == expected).all()


@pytest.mark.parametrize(
    ('mode', 'name'),
    [
        ('CMYK', 'ink.jpg'),
        ('RGBA', 'transparent.tif'),
        ('LA', 'transparent_grey.tif'),
        ('RGBA', 'transparent.webp'),
        ('I;16', 'grey.pgm'),
    ],
)
def test_rare_kinds_of_files_become_rgb_as_mmcv_makes_them(tmp_path, mode, name):
    channels = 4 if mode in ('CMYK', 'RGBA') else 2
    values = np.random.default_rng(2).integers(0, 256, (5, 8, channels), dtype=np.uint8)
    image = Image.frombytes(mode, (8, 5), values.tobytes())
    settings = dict(lossless=True) if name.endswith('.webp') else {}
    image.save(tmp_path / name, **settings)
    expected = mmcv.imread(str(tmp_path / name), channel_order='rgb')
    assert (load_image(tmp_path / name) == expected).all()


@pytest.mark.parametrize('mode', ['F', 'I', 'LAB'])
def test_pixels_of_an_unknown_range_are_refused(tmp_path, mode):
    path = tmp_path / 'values.tif'
    Image.new(mode, (8, 5)).save(path)
    with pytest.raises(ImageError, match=r'values\.tif has .*convert it to 8 bits and RGB'):
        load_image(path)


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint16),
    ],
)
def test_arrays_of_another_kind_are_refused_with_the_remedy(array):
    with pytest.raises(ImageError, match=r'uint8.*Convert'):
        load_image(array)


def test_what_is_no_image_is_refused():
    for value in (None, 5, b'bytes', [], Image):
        with pytest.raises(ImageError, match='give a path, an array or an image of Pillow'):
            load_image(value)
    with pytest.raises(ImageError, match='has no pixels: its size is 0 x 5'):
        load_image(Image.new('RGB', (0, 5)))


def test_bad_files_are_named(tmp_path):
    whole = write_image(tmp_path / 'whole.jpg', 64, 64)
    cut = tmp_path / 'cut.jpg'
    cut.write_bytes(whole.read_bytes()[:300])
    text = tmp_path / 'text.png'
    text.write_text('no image')
    number = tmp_path / 'number.ppm'
    number.write_bytes(b'P6 4 x 255\n' + bytes(48))
    empty = tmp_path / 'empty.jpg'
    empty.touch()
    for path in (cut, text, number, empty, tmp_path / 'missing.png', tmp_path):
        with pytest.raises(ImageError, match=path.name):
            load_image(path)


def test_images_that_are_too_large_are_named(tmp_path, monkeypatch):
    path = write_image(tmp_path / 'large.png', 64, 64)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(ImageError, match=r'large\.png is too large: reduce it'):
        load_image(path)
