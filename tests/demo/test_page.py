"""The page in a browser and over HTTP: what a visitor does, and what nobody can get."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from helpers.browser import find_missing, save_download, watch_requests
from helpers.exported import PANOPTIC, read_config, save_weights
from matplotlib.cbook import get_sample_data
from PIL import Image
from pycocotools.coco import COCO

from mask_dino.demo.examples import write_examples
from mask_dino.demo.session import Session, find_views
from mask_dino.demo.trained import TrainedPredictor

if reason := find_missing('gradio', chromium=False):
    pytest.skip(reason, allow_module_level=True)

SECRET = "this text is nobody else's business"


class Site(NamedTuple):
    """A running page."""

    address: str
    folder: Path
    secret: Path  # a text file beside the folder
    private: Path  # an image beside the folder
    functions: dict[str, int]  # name of what the page calls -> its number


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp('site')
    folder = root / 'own'
    (folder / 'downloads').mkdir(parents=True)
    (root / 'secret.txt').write_text(SECRET)
    Image.new('RGB', (50, 40), 'red').save(root / 'private.png')
    os.environ['GRADIO_TEMP_DIR'] = str(folder / 'gradio')
    from mask_dino.demo.page import build_page, start

    config = read_config(PANOPTIC)
    predictor = TrainedPredictor(config, save_weights(config, root / 'weights.pth'), 'cpu')
    examples = folder / 'examples'
    assert not list(write_examples(examples, None, 2048))
    session = Session(predictor, sorted(examples.iterdir()), folder / 'downloads', 2048)
    page = build_page(session, find_views(predictor))
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    address = start(page, '127.0.0.1', port, examples)
    functions = {function.fn.__name__: number for number, function in page.fns.items()}
    yield Site(address, folder, root / 'secret.txt', root / 'private.png', functions)
    page.close()
    del os.environ['GRADIO_TEMP_DIR']


def ask(site: Site, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Send a path exactly as it is; return the status and the answer."""
    connection = http.client.HTTPConnection(urlsplit(site.address).netloc, timeout=60)
    connection.request('POST' if body is not None else 'GET', path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def forms(target: Path, inside: Path) -> Iterator[str]:
    """Yield spellings of a path, absolute and relative to a folder that is served."""
    upwards = os.path.relpath(target, inside)
    many = '../' * 12 + str(target).lstrip('/')
    for spelling in (
        str(target),
        f'{inside}/{upwards}',
        upwards,
        many,
        f'/{target}',
        f'file://{target}',
    ):
        encoded = quote(spelling, safe='')
        dots = spelling.replace('.', '%2e')
        yield from (spelling, encoded, dots, quote(dots, safe=''), spelling.replace('/', '\\'))
        yield spelling + '%00.png'


ROUTES = (
    '/gradio_api/file=',
    '/file=',
    '/gradio_api/file/',
    '/static/',
    '/assets/',
    '/svelte/',
    '/',
)
ROUTES += (
    '/custom_component/',
    '/gradio_api/stream/',
    '/gradio_api/proxy=',
    '/gradio_api/upload?path=',
)


def test_no_file_of_the_machine_is_served(site):
    example = next((site.folder / 'examples').iterdir())
    status, data = ask(site, f'/gradio_api/file={example}')
    assert status == 200 and data == example.read_bytes()
    own = Path(__file__).resolve()
    downloaded = site.folder / 'downloads' / 'secret.txt'
    downloaded.write_text(SECRET)
    targets = {
        site.secret: SECRET,
        downloaded: SECRET,
        own: 'nobody can get',
        Path('/etc/passwd'): 'root:',
    }
    assert all(word in target.read_text() for target, word in targets.items())
    for target, word in targets.items():
        for form in forms(target, example.parent):
            for route in ROUTES:
                _, data = ask(site, quote(route + form, safe='/=?%.:\\'))
                assert word.encode() not in data, route + form


def run_on(site: Site, path: str, session: str) -> dict:
    """Ask the page to analyse a file that the browser names; return its last message."""
    file = dict(path=path, meta=dict(_type='gradio.FileData'))
    call = dict(fn_index=site.functions['analyse'], session_hash=session)
    body = json.dumps(call | dict(data=[file, 'Instances', 0.3])).encode()
    headers = {'Content-Type': 'application/json'}
    status, answer = ask(site, '/gradio_api/queue/join', body, **headers)
    assert status == 200, answer
    _, stream = ask(site, f'/gradio_api/queue/data?session_hash={session}')
    events = [
        json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith('data: ')
    ]
    [done] = [event for event in events if event['msg'] == 'process_completed']
    return done


def test_only_uploaded_images_are_analysed(site):
    boundary = 'x'
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="../../a.png"\r\n\r\n'
    body = head.encode() + site.private.read_bytes() + f'\r\n--{boundary}--\r\n'.encode()
    kind = {'Content-Type': f'multipart/form-data; boundary={boundary}'}
    status, answer = ask(site, '/gradio_api/upload', body, **kind)
    [uploaded] = json.loads(answer)
    assert status == 200 and Path(uploaded).is_relative_to(site.folder / 'gradio')
    done = run_on(site, uploaded, 'first')
    assert done['success'] and 'in a.' in done['output']['data'][1]
    uploads = Path(uploaded).parent
    for number, path in enumerate(
        (site.private, f'{uploads}/{os.path.relpath(site.private, uploads)}')
    ):
        done = run_on(site, str(path), f'other{number}')
        assert not done['success'] and 'private' not in json.dumps(done['output'].get('data', ''))


@pytest.mark.browser
def test_a_visitor_clicks_an_example_moves_the_slider_and_downloads(site, browser, tmp_path):
    page = browser.new_page()
    hosts = watch_requests(page)
    page.goto(site.address)
    page.wait_for_selector('#message:has-text("Choose an image")')

    page.click('#examples button >> nth=1')  # a picture of Shapes
    page.wait_for_selector('#message:has-text("in shapes_2.")')
    page.wait_for_selector('#picture img')
    coco = COCO(str(save_download(page, '#save-results', tmp_path)))
    assert coco.imgs[1]['width'] == 256 and len(coco.anns) > 3
    assert {annotation['score'] >= 0.3 for annotation in coco.anns.values()} == {True}

    page.locator('#threshold input[type=range]').fill('1')
    page.wait_for_function(
        r"/(^|\D)0 objects in/.test(document.querySelector('#message').textContent)"
    )

    assert not hosts


@pytest.mark.browser
def test_a_photo_is_shown_in_every_view_and_other_files_are_refused(site, browser, tmp_path):
    page = browser.new_page()
    hosts = watch_requests(page)
    page.goto(site.address)
    photo = str(get_sample_data('grace_hopper.jpg', asfileobj=False))
    page.set_input_files('#upload input[type=file]', photo)
    page.wait_for_selector('#message:has-text("in grace_hopper.")')
    for view in ('Panoptic', 'Semantic', 'Layers'):
        page.check(f'#view input[value="{view}"]')
        page.wait_for_selector(f'#picture img[src*="grace_hopper-{view.lower()}"]')
    page.check('#view input[value="Semantic"]')
    page.wait_for_selector('#picture img[src*="grace_hopper-semantic"]')
    picture = Image.open(save_download(page, '#save-picture', tmp_path))
    assert picture.size[0] / picture.size[1] == pytest.approx(512 / 600, abs=0.01)
    assert np.asarray(picture).std() > 20

    text = tmp_path / 'letter.jpg'
    text.write_text('Dear reader')
    page.click('#upload button[aria-label="Clear"]')
    page.set_input_files('#upload input[type=file]', str(text))
    page.wait_for_selector('#message:has-text("letter.jpg is not an image")')
    assert not page.locator('#picture img').count()
    assert page.is_disabled('#save-results')
    assert not hosts
