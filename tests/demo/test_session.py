"""What a visitor sees, lists and downloads is what the model found, in pixels of the uploaded image."""

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mask_dino.demo.examples import DRAWN, write_examples
from mask_dino.demo.findings import View, keep_findings, list_objects
from mask_dino.demo.pictures import draw_view
from mask_dino.demo.predictors import LayersError
from mask_dino.demo.session import KEPT_DOWNLOADS, Session, find_views
from mask_dino.demo.uploads import Upload
from mask_dino.runtime import ImageError, Result

CLASSES = ('ellipse', 'rectangle', 'sky')
PALETTE = ((230, 57, 70), (255, 183, 3), (142, 202, 230))


class Squares:
    """A model that finds a square in the left half, another in the right one, and sky elsewhere."""

    name = 'squares.onnx'
    classes = CLASSES

    def predict(self, image: np.ndarray) -> Result:
        height, width = image.shape[:2]
        masks = np.zeros((3, height, width), bool)
        masks[0, height // 4 : height // 2, width // 4 : width // 2] = True
        masks[1, height // 2 :, width // 2 :] = True
        panoptic = np.full((height, width), 2, np.int32)
        panoptic[masks[0]] = 1000
        panoptic[masks[1]] = 1001
        panoptic[0] = len(CLASSES)  # no segment
        boxes = [[width / 4, height / 4, width / 2, height / 2]]
        boxes += [[width / 2, height / 2, width + 3, height + 3], [0, 0, 0, 0]]
        return Result(
            image,
            CLASSES,
            PALETTE,
            boxes=np.array(boxes, np.float32),
            labels=np.array([0, 1, 1]),
            scores=np.array([0.9, 0.4, 0.01], np.float32),
            masks=masks,
            panoptic=panoptic,
            semantic=np.where(masks[0], 0, np.where(masks[1], 1, 2)).astype(np.int32),
        )

    def draw_layers(self, image: np.ndarray) -> np.ndarray:
        raise LayersError('This model has no layers.')


@pytest.fixture
def session(tmp_path) -> Session:
    return Session(Squares(), [], tmp_path, max_side=80)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.new('RGB', (160, 120), 'grey').save(path)
    return path


def analyse(session, path, view=View.INSTANCES, threshold=0.3):
    return session.analyse(path, view, threshold, lambda fraction, words: None)


@pytest.mark.parametrize('view', [View.INSTANCES, View.PANOPTIC, View.SEMANTIC])
def test_results_load_in_pycocotools_at_the_size_of_the_upload(session, photo, view):
    _, shown = analyse(session, photo, view)
    coco = COCO(str(shown.results))
    [image] = coco.loadImgs(coco.getImgIds())
    assert (image['height'], image['width']) == (120, 160)
    annotations = coco.loadAnns(coco.getAnnIds())
    names = {coco.cats[item['category_id']]['name']: item for item in annotations}
    assert set(names) == ({*CLASSES} if view is not View.INSTANCES else {'ellipse', 'rectangle'})
    assert names['ellipse']['bbox'] == [40, 30, 40, 30]
    assert names['rectangle']['bbox'] == [80, 60, 80, 60]
    expected = np.zeros((120, 160), bool)
    expected[30:60, 40:80] = True
    assert (coco.annToMask(names['ellipse']) == expected).all()
    for item in annotations:
        assert item['area'] == coco.annToMask(item).sum()
    assert [row[0].split()[0] for row in shown.table] == [
        coco.cats[item['category_id']]['name'] for item in annotations
    ]
    assert 'reduced from 160 x 120 to 80 x 60' in shown.message


def test_the_threshold_and_the_view_decide_what_is_shown(session, photo):
    findings, first = analyse(session, photo)
    assert first.table[0] == ('ellipse', '0.90', '40, 30, 40, 30', '6.2%')
    assert first.message.startswith('2 objects in photo.')
    strict = session.show(findings, View.INSTANCES, 0.5)
    assert [row[0] for row in strict.table] == ['ellipse']
    assert strict.message.startswith('1 object in photo.')
    assert not session.show(findings, View.INSTANCES, 0.95).table
    panoptic = session.show(findings, View.PANOPTIC, 0.5)
    assert [row[0] for row in panoptic.table] == ['sky', 'rectangle 1', 'ellipse 1']
    pictures = {
        np.asarray(Image.open(item.picture)).tobytes() for item in (first, strict, panoptic)
    }
    assert len(pictures) == 3


def test_kept_masks_are_the_masks_of_the_model(photo):
    image = np.zeros((30, 50, 3), np.uint8)
    result = Squares().predict(image)
    findings = keep_findings(Upload('a', image, (30, 50), ()), result)
    assert findings.result.masks is None and len(findings.codes) == 2
    assert (findings.above(0.05).masks == result.masks[:2]).all()
    assert (findings.above(0.5).masks == result.masks[:1]).all()


def test_models_without_masks_give_boxes(session, photo):
    whole = session.predictor.predict(np.zeros((60, 80, 3), np.uint8))
    boxes = Result(whole.image, CLASSES, PALETTE, whole.boxes, whole.labels, whole.scores)
    session.predictor.predict = lambda image: boxes
    assert find_views(session.predictor) == [View.INSTANCES, View.LAYERS]
    _, shown = analyse(session, photo)
    [first, second] = COCO(str(shown.results)).loadAnns([1, 2])
    assert first['bbox'] == [40, 30, 40, 30] and first['area'] == 1200
    assert second['bbox'] == [80, 60, 80, 60] and 'segmentation' not in second


def test_a_picture_names_what_it_shows_and_keeps_its_colours(photo):
    result = Squares().predict(np.full((64, 64, 3), 100, np.uint8))
    for view in (View.PANOPTIC, View.SEMANTIC):
        picture = draw_view(result, view)
        assert picture.shape == (640, 640, 3)  # a small picture is enlarged
        for label, (y, x) in {0: (180, 180), 1: (340, 600), 2: (600, 100)}.items():
            expected = (100 + np.array(PALETTE[label])) // 2
            assert np.abs(picture[y, x].astype(int) - expected).max() <= 1
        name_colour = np.array(PALETTE[2])
        assert (picture == name_colour).all(-1).sum() > 100  # the ground of a name
    large = draw_view(Squares().predict(np.zeros((700, 650, 3), np.uint8)), View.INSTANCES)
    assert large.shape == (700, 650, 3)


def test_whatever_fails_is_a_sentence(session, photo, tmp_path, capsys):
    assert analyse(session, None) == (None, ('Choose an image.', None, None, ()))
    (tmp_path / 'a.txt').write_text('text')
    findings, shown = analyse(session, tmp_path / 'a.txt')
    assert findings is None and 'not an image' in shown.message and shown.picture is None
    _, shown = analyse(session, photo, View.LAYERS)
    assert shown.message == 'This model has no layers.' and shown.picture is None

    def refuse(image):
        raise ImageError('the model was exported with --static')

    session.predictor.predict = refuse
    assert '--static' in analyse(session, photo)[1].message
    assert not capsys.readouterr().err
    session.predictor.predict = lambda image: 1 / 0
    assert 'ZeroDivisionError' in analyse(session, photo)[1].message
    assert 'Traceback' in capsys.readouterr().err  # in the terminal
    assert session.show(None, View.INSTANCES, 0.3).message == 'Choose an image.'


def test_old_downloads_are_removed(session):
    folders = [session.make_folder() for _ in range(KEPT_DOWNLOADS + 3)]
    assert [folder.exists() for folder in folders] == [False] * 3 + [True] * KEPT_DOWNLOADS


def test_examples_are_drawn_and_copied_and_what_is_no_image_is_named(tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    Image.new('RGB', (100, 50), 'red').save(folder / 'b.jpg')
    (folder / 'notes.txt').write_text('text')
    (folder / 'link.png').symlink_to(folder / 'notes.txt')
    target = tmp_path / 'examples'
    sentences = list(write_examples(target, folder, max_side=40))
    assert len(sentences) == 2 and 'link.png' in sentences[0] and 'notes.txt' in sentences[1]
    files = sorted(target.iterdir())
    assert files[0].name == 'given_01_b.png' and Image.open(files[0]).size == (40, 20)
    assert len(files) == 1 + DRAWN and not any(file.is_symlink() for file in files)
    with pytest.raises(NotADirectoryError, match='--examples'):
        list(write_examples(tmp_path / 'other', tmp_path / 'missing', 40))


def test_objects_are_listed_by_score_and_areas_by_size(session, photo):
    findings, _ = analyse(session, photo)
    scores = [item.score for item in list_objects(findings, View.INSTANCES, 0)]
    assert scores == sorted(scores, reverse=True) and len(scores) == 2
    areas = [item.area for item in list_objects(findings, View.PANOPTIC, 0)]
    assert areas == sorted(areas, reverse=True) and len(areas) == 3
