"""Every kind of file that a visitor may upload is read, or refused with a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mask_dino.demo import uploads
from mask_dino.demo.uploads import TURNS, UploadError, read_upload

MAX_SIDE = 64
HEIGHT, WIDTH = 24, 40


@pytest.fixture
def colours() -> np.ndarray:
    """An image (H, W, 3) whose left upper corner is red, and the rest blue."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 2] = 255
    pixels[:8, :8] = (255, 0, 0)
    return pixels


def save(path, image, **settings):
    image.save(path, **settings)
    return path


MODES = dict(
    png=['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'],
    tif=['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16', 'I'],
    jpg=['L', 'RGB', 'CMYK'],
    webp=['L', 'LA', 'P', 'RGB', 'RGBA'],
    bmp=['1', 'L', 'P', 'RGB', 'RGBA'],
    gif=['1', 'L', 'LA', 'P', 'RGB', 'RGBA'],
)


@pytest.mark.parametrize(
    ('suffix', 'mode'), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]
)
def test_every_mode_of_every_format_becomes_rgb(tmp_path, suffix, mode):
    ramp = np.linspace(0, 255, WIDTH).round().astype(np.uint8)
    grey = Image.fromarray(np.broadcast_to(ramp, (HEIGHT, WIDTH)).copy())
    if mode.startswith('I'):
        wide = np.asarray(grey).astype(np.uint16 if mode == 'I;16' else np.int32) * 257
        image = Image.fromarray(wide)
    else:
        image = grey.convert('RGB').convert(mode)
    path = save(tmp_path / f'image.{suffix}', image)
    upload = read_upload(path, MAX_SIDE)
    assert upload.pixels.shape == (HEIGHT, WIDTH, 3) and upload.pixels.dtype == np.uint8
    assert upload.original_size == (HEIGHT, WIDTH)
    if mode not in ('1', 'P'):  # these have few colours
        assert np.abs(upload.pixels.mean(0) - ramp[:, None]).max() <= 12
    assert upload.pixels[:, -8:].mean() > 200 > 60 > upload.pixels[:, :8].mean()


@pytest.mark.parametrize('orientation', [1, *TURNS])
def test_a_photo_is_shown_upright(tmp_path, colours, orientation):
    upright = Image.fromarray(colours)
    # The camera stores what its sensor sees: the image before the turn.
    stored = upright
    if orientation != 1:
        backwards = {6: TURNS[8], 8: TURNS[6]}.get(orientation, TURNS[orientation])
        stored = upright.transpose(backwards)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / 'photo.png', stored, exif=exif)
    upload = read_upload(path, MAX_SIDE)
    assert (upload.pixels == colours).all()
    assert upload.original_size == (HEIGHT, WIDTH) and not upload.notes


def test_a_turned_photo_that_is_reduced_keeps_its_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / 'photo.jpg', Image.new('RGB', (300, 200)), exif=exif)
    upload = read_upload(path, MAX_SIDE)
    assert upload.original_size == (300, 200)
    assert upload.pixels.shape == (64, 43, 3)
    assert upload.notes == ('The image was reduced from 200 x 300 to 43 x 64 pixels.',)


def test_transparent_parts_are_white(tmp_path, colours):
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[8:] = 0
    image = Image.fromarray(np.dstack((colours, alpha)))
    pixels = read_upload(save(tmp_path / 'a.png', image), MAX_SIDE).pixels
    assert (pixels[8:] == 255).all()
    assert (pixels[:8] == colours[:8]).all()


def test_an_animation_gives_its_first_picture_and_a_note(tmp_path):
    first, second = (Image.new('RGB', (WIDTH, HEIGHT), colour) for colour in ('red', 'blue'))
    path = save(tmp_path / 'a.gif', first, save_all=True, append_images=[second])
    upload = read_upload(path, MAX_SIDE)
    assert tuple(upload.pixels[0, 0]) == (255, 0, 0)
    assert 'only the first' in upload.notes[0]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', check)

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    body = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


def encoded(suffix: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('data', 'sentence'),
    [
        (b'', 'is empty'),
        (b'Dear reader, this is text.', 'is not an image'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'is not an image'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'is not an image'),
        (encoded('png')[:500], 'is damaged'),
        (encoded('webp')[:500], 'is'),
        (encoded('tiff')[:500], 'is damaged'),
        (bomb(9_900, 9_900), 'is damaged'),
        (bomb(11_000, 11_000), 'million pixels'),
        (bomb(60_000, 60_000), 'million pixels'),
        (bomb(5_000, 3), 'too narrow|is damaged'),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path, data, sentence):
    path = tmp_path / 'holiday.png'
    path.write_bytes(data)
    with pytest.raises(UploadError, match=rf'^holiday\.png .*({sentence}).*\.$'):
        read_upload(path, MAX_SIDE)


def test_a_jpeg_that_is_cut_anywhere_is_refused(tmp_path):
    data = encoded('jpeg')
    path = tmp_path / 'a.jpg'
    for length in range(1, len(data) - 100, 97):
        path.write_bytes(data[:length])
        with pytest.raises(UploadError, match=r'^a\.jpg '):
            read_upload(path, MAX_SIDE)


def test_floats_narrow_images_and_large_files_are_refused(tmp_path, monkeypatch):
    floats = save(tmp_path / 'f.tif', Image.fromarray(np.ones((20, 20), np.float32)))
    with pytest.raises(UploadError, match='floating-point'):
        read_upload(floats, MAX_SIDE)
    narrow = save(tmp_path / 'n.png', Image.new('RGB', (2000, 20)))
    with pytest.raises(UploadError, match='2000 x 20 pixels, which is too narrow'):
        read_upload(narrow, MAX_SIDE)
    monkeypatch.setattr(uploads, 'MAX_UPLOAD_BYTES', 50)
    with pytest.raises(UploadError, match='largest file'):
        read_upload(narrow, MAX_SIDE)
    with pytest.raises(UploadError, match='cannot be read'):
        read_upload(tmp_path / 'gone.png', MAX_SIDE)
