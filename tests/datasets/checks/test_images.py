"""Damaged images are told from sound ones, without decoding where a header tells."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mask_dino.datasets.checks.images import (
    check_depth,
    check_presence,
    file_problem,
    image_problem,
)

SIZE = (48, 32)
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def save(path, **options: object) -> str:
    Image.fromarray(PICTURE).save(path, **options)
    return str(path)


def rotated(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize('decode', [False, True])
@pytest.mark.parametrize(
    ('name', 'pixels'),
    [
        ('colour.jpg', PICTURE),
        ('grey.jpg', PICTURE[..., 0]),
        ('colour.png', PICTURE),
        ('grey.png', PICTURE[..., 0]),
        ('deep.png', PICTURE.astype(np.uint16) * 257),
        ('alpha.png', np.dstack((PICTURE, PICTURE[..., :1]))),
        ('plain.bmp', PICTURE),
    ],
)
def test_sound_images_of_all_kinds_pass(tmp_path, name, pixels, decode):
    path = str(tmp_path / name)
    assert cv2.imwrite(path, pixels)
    assert image_problem(path, SIZE, decode) is None
    assert str(SIZE[0] + 1) in image_problem(path, (SIZE[0] + 1, SIZE[1]), decode)


@pytest.mark.parametrize('progressive', [False, True])
def test_a_jpeg_cut_short_anywhere_is_noticed(tmp_path, progressive):
    content = Path(save(tmp_path / 'whole.jpg', progressive=progressive)).read_bytes()
    path = tmp_path / 'cut.jpg'
    for length in (*range(4, len(content) - 2, 97), len(content) - 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert 'cut' in (file_problem(str(path)) or ''), length


def test_data_behind_the_end_and_a_thumbnail_before_it_are_no_damage(tmp_path):
    content = Path(save(tmp_path / 'whole.jpg')).read_bytes()
    path = tmp_path / 'camera.jpg'
    path.write_bytes(content + b'\xff\xda' + bytes(50))
    assert file_problem(str(path)) is None
    # A segment of application data that holds a whole JPEG, as cameras write it.
    thumbnail = b'\xff\xe1' + (len(content) + 2).to_bytes(2, 'big') + content
    path.write_bytes(content[:2] + thumbnail + content[2:])
    assert file_problem(str(path)) is None
    path.write_bytes(content[:2] + thumbnail + content[2 : len(content) // 2])
    assert 'cut short' in file_problem(str(path))


FRAMES = [Image.fromarray(np.roll(PICTURE, shift, 0)) for shift in range(3)]
KINDS = {
    'colour.png': {},
    'grey.bmp': {},
    'palette.gif': {},
    'lossy.webp': {},
    'lossless.webp': dict(lossless=True),
    'plain.tif': {},
    'packed.tiff': dict(compression='tiff_lzw'),
    'moving.png': dict(save_all=True, append_images=FRAMES),
    'moving.gif': dict(save_all=True, append_images=FRAMES),
    'moving.webp': dict(save_all=True, append_images=FRAMES),
    'pages.tif': dict(save_all=True, append_images=FRAMES),
}


@pytest.mark.parametrize('name', KINDS)
def test_files_of_every_format_are_whole_or_cut_short(tmp_path, name):
    path = tmp_path / name
    content = Path(save(path, **KINDS[name])).read_bytes()
    assert image_problem(str(path), SIZE, decode=False) is None
    assert cv2.imread(str(path)) is not None
    for length in np.linspace(40, len(content) - 1, 20).astype(int):
        path.write_bytes(content[:length])
        is_readable = cv2.imread(str(path)) is not None  # the first of several pages is enough
        assert is_readable or 'cut short' in file_problem(str(path)), length


@pytest.mark.parametrize(
    ('name', 'format'), [('x.png', 'JPEG'), ('x.jpg', 'PNG'), ('x.jpg', 'MPO')]
)
def test_the_content_decides_on_the_format(tmp_path, name, format):
    path = save(tmp_path / name, format=format)
    assert image_problem(path, SIZE, decode=False) is None
    Path(path).write_bytes(Path(path).read_bytes()[:-20])
    assert 'cut short' in image_problem(path, SIZE, decode=False)


def test_decoding_finds_what_headers_hide(tmp_path):
    path = tmp_path / 'hole.png'
    content = Path(save(path)).read_bytes()
    path.write_bytes(content[:400] + bytes(600) + content[1000:])
    assert file_problem(str(path)) is None
    assert 'decoded' in image_problem(str(path), SIZE, decode=True)


@pytest.mark.parametrize(
    ('content', 'word'), [(b'', 'empty'), (b'<html>not found</html>', 'not an image')]
)
def test_what_is_no_image_is_called_so(tmp_path, content, word):
    path = tmp_path / 'x.jpg'
    path.write_bytes(content)
    message = image_problem(str(path), SIZE, decode=False)
    assert str(path) in message and word in message
    path.unlink()
    assert 'does not exist' in image_problem(str(path), SIZE, decode=False)


@pytest.mark.parametrize('decode', [False, True])
def test_exif_orientation_counts_as_it_is_loaded(tmp_path, decode):
    turned = save(tmp_path / 'turned.jpg', exif=rotated(6))
    assert cv2.imread(turned).shape[:2] == SIZE
    assert image_problem(turned, SIZE[::-1], decode) is None
    assert 'EXIF' in image_problem(turned, SIZE, decode)
    assert image_problem(save(tmp_path / 'upside_down.jpg', exif=rotated(3)), SIZE, decode) is None


def test_missing_and_empty_files_are_listed_by_folder(tmp_path):
    here = [save(tmp_path / f'{index}.png') for index in range(3)]
    assert check_presence(here) == check_presence(['s3://bucket/1.png']) == []
    (tmp_path / '1.png').write_bytes(b'')
    (tmp_path / '2.png').rename(tmp_path / '2.PNG')
    missing, empty = (message for _, message in check_presence([*here, str(tmp_path / 'x.png')]))
    assert (
        str(tmp_path) in missing
        and '2 of 4' in missing
        and 'x.png' in missing
        and '2.PNG' in missing
    )
    assert '1.png' in empty and '0.png' not in empty + missing
    ((_, message),) = check_presence([str(tmp_path / 'nowhere/1.png')])
    assert 'nowhere' in message and 'data_prefix' in message


def test_deep_images_are_named_where_loading_would_lose_them(tmp_path):
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    files = {
        'float.tif': ramp,
        'dark.tif': (ramp * 4000).astype(np.uint16),
        'dark.png': (ramp * 900).astype(np.uint16),
        'plain.png': (ramp * 255).astype(np.uint8),
        'whole.tif': (ramp * 70000).astype(np.int32),
        'full.png': (ramp * 65535).astype(np.uint16),
    }
    for name, pixels in files.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    paths = [str(tmp_path / name) for name in files]
    others, dark = check_depth(paths[:4])
    assert (
        '1 image looked at with values of another type' in others.message
        and 'float.tif (float32)' in others.message
    )
    assert '2 images of 16 bits' in dark.message and 'dark.tif (largest value 4000)' in dark.message
    whole, dark = check_depth(paths[1:])
    assert 'whole.tif (int32)' in whole.message and '2 images of 16 bits' in dark.message
    assert check_depth([paths[1], paths[5]]) == []
