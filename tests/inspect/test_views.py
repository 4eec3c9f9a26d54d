from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.exported import INSTANCE, PANOPTIC, SEMANTIC
from helpers.inspected import make_image, small_mask2former, small_model
from mmengine.registry import init_default_scope
from PIL import Image

from mask_dino.inspect import InspectionError, Truth, inspect_layers
from mask_dino.inspect.networks import find_head
from mask_dino.inspect.views import pick_queries


@pytest.fixture(scope='module')
def models():
    built = {name: small_model(name) for name in (INSTANCE, PANOPTIC, SEMANTIC)}
    built['mask2former'] = small_mask2former()
    yield built
    init_default_scope('mmdet')


MODELS = pytest.mark.parametrize('name', [INSTANCE, PANOPTIC, SEMANTIC, 'mask2former'])


@MODELS
def test_views_have_the_shapes_of_their_docstring(models, name):
    views = inspect_layers(models[name], make_image(), top_k=4)
    proposes = name in (INSTANCE, PANOPTIC)
    assert [view.layer for view in views] == ([-1] if proposes else []) + [0, 1, 2, 3]
    for view in views:
        heads = 8 if view.layer > 0 and name != 'mask2former' else 0
        assert view.masks.shape == (4, 50, 80) and view.masks.dtype == bool
        assert view.boxes.shape == (4, 4) and view.boxes.dtype == np.float32
        assert view.weights.shape[:2] == (4, heads)
        assert view.points.shape == (*view.weights.shape, 2)
        assert ((view.scores >= 0) & (view.scores <= 1)).all()
        assert (view.queries == views[-1].queries).all()
        assert (view.objects == -1).all()
    assert sorted(views[-1].scores, reverse=True) == pytest.approx(views[-1].scores.tolist())


@MODELS
def test_an_object_that_looks_like_a_prediction_is_assigned_to_its_query(models, name):
    model = deepcopy(models[name])
    head = find_head(model)
    classes = head.cls_embed if name == 'mask2former' else head.prediction.class_embed
    torch.nn.init.zeros_(classes.weight)  # only masks and boxes tell the queries apart
    last = inspect_layers(model, make_image(), top_k=30)[-1]
    areas = last.masks.mean((1, 2))
    middle = np.flatnonzero((areas > 0.05) & (areas < 0.9))
    chosen = middle[[-1, 0]]
    truth = Truth(last.labels[chosen], last.boxes[chosen], last.masks[chosen])
    views = inspect_layers(model, make_image(), truth=truth)
    assert views[-1].objects.tolist() == [0, 1]
    # Queries can predict nearly the same, and costs compare logits, not binary masks.
    for place, number in enumerate(views[-1].objects):
        same = views[-1].masks[place] == truth.masks[number]
        assert same.mean() > 0.8


def test_files_and_arrays_give_the_same(models, tmp_path):
    image = make_image()
    file = tmp_path / 'image.png'
    Image.fromarray(image[..., ::-1]).save(file)
    from_file = inspect_layers(models[PANOPTIC], file)
    from_array = inspect_layers(models[PANOPTIC], image)
    for first, second in zip(from_file, from_array, strict=True):
        for value, other in zip(first, second, strict=True):
            assert np.array_equal(value, other)


def test_grey_images_and_chosen_queries(models):
    grey = make_image()[..., 0]
    views = inspect_layers(models[INSTANCE], grey, queries=[7, 2])
    assert views[0].queries.tolist() == [7, 2]
    [only] = pick_queries(views[-1:], [1])
    assert only.queries.tolist() == [2]
    assert np.array_equal(only.points[0], views[-1].points[1])


@pytest.mark.parametrize('queries', [[30], [-1], []])
def test_queries_that_do_not_exist_are_named(models, queries):
    with pytest.raises(InspectionError, match='queries 0 to 29'):
        inspect_layers(models[INSTANCE], make_image(), queries=queries)


def test_bad_images_are_named(models, tmp_path):
    with pytest.raises(InspectionError, match=r'none\.png does not exist'):
        inspect_layers(models[INSTANCE], tmp_path / 'none.png')
    text = tmp_path / 'text.png'
    text.write_text('no image')
    with pytest.raises(InspectionError, match=r'text\.png cannot be read as an image'):
        inspect_layers(models[INSTANCE], text)
    text.write_text('')
    with pytest.raises(InspectionError, match=r'text\.png cannot be read as an image'):
        inspect_layers(models[INSTANCE], text)


def test_an_image_without_objects_is_refused(models):
    empty = Truth(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros((0, 50, 80), bool))
    with pytest.raises(InspectionError, match='no annotated object'):
        inspect_layers(models[INSTANCE], make_image(), truth=empty)


def test_other_models_are_refused():
    with pytest.raises(InspectionError, match='Linear has no head of Mask DINO or Mask2Former'):
        inspect_layers(torch.nn.Linear(1, 1), make_image(), config=small_model(INSTANCE).cfg)
