"""Training stops before its first step on what would ruin it, survives the rest, and says what it took."""

import itertools
import logging
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.coco_folder import CLASSES, HEIGHT, WIDTH, coco_content, dataset_config, write_coco
from helpers.tiny import build, tiny_config
from mmdet.models.test_time_augs import DetTTAModel
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.maskdino import compare_tensors, read_shapes
from mask_dino.hooks import CheckDataHook
from mask_dino.hooks.check_checkpoint import count_by_module, is_complete, is_foreign, is_original
from mask_dino.hooks.check_data import unwrap_model
from mask_dino.messages import DataError, error

numbers = itertools.count()


def make_runner(
    folder: Path, classes: tuple[str, ...] = CLASSES, stop: bool = True, **options: object
) -> Runner:
    """Return the runner of two steps on the data set in a folder, with the messages it logs in ``logged``."""
    count = len(classes)
    model = tiny_config(num_things_classes=count)
    model.panoptic_fusion_head.num_things_classes = count
    sampler = dict(type='DefaultSampler', shuffle=False)
    dataset = dataset_config(folder, metainfo=dict(classes=classes))
    config = dict(
        default_scope='mmdet',
        experiment_name=f'hooks{next(numbers)}',
        model=model,
        work_dir=str(folder / 'work'),
        train_dataloader=dict(batch_size=2, num_workers=0, sampler=sampler, dataset=dataset),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        test_dataloader=dict(
            batch_size=1, num_workers=0, sampler=sampler, dataset=dataset | dict(test_mode=True)
        ),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='DumpResults', out_file_path=str(folder / 'results.pkl')),
        default_hooks=dict(
            check_data=dict(type='CheckDataHook', stop=stop),
            check_checkpoint=dict(type='CheckCheckpointHook'),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        ),
        log_processor=dict(by_epoch=False),
        visualizer=dict(type='DetLocalVisualizer', vis_backends=[]),
    )
    runner = Runner.from_cfg(Config(config | options))
    runner.logged = []
    handler = logging.Handler()
    handler.emit = lambda record: runner.logged.append(record.getMessage())
    runner.logger.addHandler(handler)
    return runner


def logged(runner: Runner, text: str) -> str:
    """Return the only logged message with a text in it."""
    (message,) = (message for message in runner.logged if text in message)
    return message


@pytest.fixture
def folder(tmp_path) -> Path:
    write_coco(tmp_path, coco_content())
    return tmp_path


@pytest.fixture
def checkpoint(folder) -> Path:
    """A checkpoint of the classes cat and dog, with weights of its own."""
    runner = make_runner(folder)
    with torch.no_grad():
        for parameter in runner.model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    path = folder / 'cat_and_dog.pth'
    torch.save(dict(state_dict=runner.model.state_dict()), path)
    return path


@pytest.fixture
def birds(folder) -> tuple[str, ...]:
    """The classes of a data set with a third category, which replaces that of the folder."""
    content = coco_content()
    content['categories'].append(dict(id=3, name='bird'))
    content['annotations'][0]['category_id'] = 3
    write_coco(folder, content)
    return (*CLASSES, 'bird')


def test_training_survives_what_is_skipped(folder):
    content = coco_content(num_images=4)
    damages = [
        dict(segmentation=[]),
        dict(segmentation=[[1, 1, 5, 5]]),
        dict(segmentation=[[float('nan')] * 6]),
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[9])),
        dict(bbox=[5, 5, 0, 0]),
        dict(bbox=[WIDTH + 9, 5, 10, 10]),
        dict(bbox=[40, 30, 90, 90]),
    ]
    for annotation, damage in zip(content['annotations'], damages, strict=False):
        annotation.update(damage)
    write_coco(folder, content)
    cv2.imwrite(str(folder / 'images/3.jpg'), np.full((HEIGHT, WIDTH), 99, np.uint8))
    runner = make_runner(folder)
    losses = []
    runner.model.register_forward_hook(lambda module, inputs, output: losses.append(output))
    runner.train()
    assert all(
        value.isfinite().all()
        for output in losses
        for value in output.values()
        if isinstance(value, Tensor)
    )
    assert len(losses) == 2 and (folder / 'work/iter_2.pth').exists()
    assert sum('annotation (id' in message for message in runner.logged) == len(damages)
    assert '4 images, 3 of them without objects; 2 objects of 2 of 2 classes' in logged(
        runner, 'train_dataloader:'
    )


def test_an_error_in_the_data_stops_before_the_first_step(folder):
    (folder / 'images/1.jpg').unlink()
    runner = make_runner(folder)
    with pytest.raises(DataError, match=r'1\.jpg'):
        runner.train()
    assert runner.iter == 0 and not list((folder / 'work').rglob('*.pth'))
    with pytest.raises(DataError, match=r'1\.jpg'):
        make_runner(folder).test()


def test_class_counts_of_model_and_data_must_agree(folder, birds):
    options = make_runner(folder).cfg
    options.train_dataloader.dataset.metainfo.classes = birds
    with pytest.raises(DataError, match=r'panoptic_head=dict\(num_things_classes=3\)'):
        make_runner(folder, train_dataloader=options.train_dataloader).train()


def test_an_error_can_be_overruled(folder):
    content = coco_content()
    content['annotations'][0]['category_id'] = 9
    write_coco(folder, content)
    with pytest.raises(DataError, match='category_id'):
        make_runner(folder).train()
    runner = make_runner(folder, stop=False)
    runner.train()
    assert 'train.json' in logged(runner, 'category_id') and runner.iter == 2


@pytest.mark.parametrize('main', [True, False])
def test_all_processes_stop_for_what_the_main_one_finds(monkeypatch, main):
    found = [error('seen by the main process')] if main else []

    def broadcast(data: list) -> None:
        data[:] = [['seen by the main process']]

    monkeypatch.setattr('mask_dino.hooks.check_data.is_main_process', lambda: main)
    monkeypatch.setattr('mask_dino.hooks.check_data.check_loaders', lambda *args: found)
    monkeypatch.setattr('mask_dino.hooks.check_data.broadcast_object_list', broadcast)
    runner = SimpleNamespace(model=torch.nn.Identity(), cfg={}, logger=logging.getLogger())
    with pytest.raises(DataError, match='seen by the main process'):
        CheckDataHook(stop=True).check(runner, {})


def test_fine_tuning_takes_what_fits_and_reports_the_rest(folder, checkpoint, birds):
    runner = make_runner(
        folder, birds, load_from=str(checkpoint), custom_hooks=[dict(type='EMAHook')]
    )
    runner.model.init_weights()
    initial = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.model.init_weights = lambda: None
    runner.train()
    given = torch.load(checkpoint)['state_dict']
    reshaped = {name for name in given if given[name].shape != initial[name].shape}
    assert {name.rpartition('.')[2] for name in reshaped} == {'weight', 'bias'} and len(
        reshaped
    ) == 3
    for name, value in runner.model.state_dict().items():
        expected = initial[name] if name in reshaped else given[name]
        torch.testing.assert_close(value, expected, msg=name)
    message = logged(runner, f'{len(given) - 3} tensors fit')
    assert str(checkpoint) in message and '3 of another shape' in message
    assert all(
        f'{name} {tuple(given[name].shape)} -> {tuple(initial[name].shape)}' in message
        for name in reshaped
    )


@pytest.mark.parametrize('resume', [False, True])
def test_a_checkpoint_of_the_same_model_is_reported_in_a_line(folder, resume):
    make_runner(folder).train()
    options = dict(resume=True) if resume else dict(load_from=str(folder / 'work/iter_2.pth'))
    runner = make_runner(folder, **options)
    runner.train()
    message = logged(runner, 'tensors fit')
    assert str(folder / 'work/iter_2.pth') in message and '\n' not in message


def test_tests_and_resumed_trainings_need_all_tensors(folder, checkpoint, birds):
    with pytest.raises(CheckpointError, match='under test') as failure:
        make_runner(folder, birds, load_from=str(checkpoint)).test()
    assert all(
        part in str(failure.value)
        for part in (str(checkpoint), 'class_embed', 'Test with the config')
    )
    with pytest.raises(CheckpointError, match='load_from=CHECKPOINT'):
        make_runner(folder, birds, load_from=str(checkpoint), resume=True).train()


@pytest.mark.parametrize(
    ('content', 'remedy'),
    [
        (dict(state_dict={'bbox_head.fc.weight': torch.zeros(3, 2)}), 'bbox_head.fc'),
        (dict(epoch=7), 'another model'),
        (
            dict(model={'sem_seg_head.predictor.query_feat.weight': torch.zeros(3, 2)}),
            'maskdino_to_mmdet.py',
        ),
        ({'sem_seg_head.predictor.query_feat.weight': torch.zeros(3, 2)}, 'maskdino_to_mmdet.py'),
    ],
    ids=['other', 'none', 'original', 'bare original'],
)
@pytest.mark.parametrize('ema', [False, True])
def test_a_checkpoint_of_another_model_is_refused(folder, content, remedy, ema):
    path = folder / 'other.pth'
    torch.save(content, path)
    hooks = [dict(type='EMAHook')] if ema else []
    with pytest.raises(CheckpointError, match=remedy) as failure:
        make_runner(folder, load_from=str(path), custom_hooks=hooks).train()
    assert str(path) in str(failure.value)


def write_with_classes(path: Path, content: dict, **meta: object) -> None:
    """Write a checkpoint whose classes are stated in a certain way."""
    torch.save({**content, 'meta': {**content.get('meta', {}), **meta}}, path)


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        (
            dict(dataset_meta=dict(classes=('dog', 'cat'))),
            r"metainfo=dict\(classes=\('dog', 'cat'\)\)",
        ),
        (
            dict(dataset_meta=dict(CLASSES=['cup', 'fork'])),
            "class 0 is 'cup' in the checkpoint and 'cat' in the data set",
        ),
        (dict(CLASSES=('cup', 'dog')), '1 of 2 names differ'),
        (dict(dataset_meta=dict(classes=('cat', 'dog', 'cow'))), 'the checkpoint has 3 classes'),
    ],
)
def test_a_model_of_other_classes_is_not_tested(folder, checkpoint, meta, message):
    write_with_classes(folder / 'other.pth', torch.load(checkpoint), **meta)
    with pytest.raises(CheckpointError, match=message) as failure:
        make_runner(folder, load_from=str(folder / 'other.pth')).test()
    assert all(
        part in str(failure.value)
        for part in (str(folder / 'other.pth'), 'test_dataloader.dataset')
    )
    assert not (folder / 'results.pkl').exists()


@pytest.mark.parametrize(
    'dataset_meta',
    [
        dict(classes=CLASSES, palette=[(1, 2, 3)]),
        dict(classes=list(CLASSES)),
        dict(CLASSES=CLASSES),
        dict(),
        None,
    ],
)
def test_the_same_classes_are_tested_without_a_word(folder, checkpoint, dataset_meta):
    write_with_classes(folder / 'same.pth', torch.load(checkpoint), dataset_meta=dataset_meta)
    runner = make_runner(folder, load_from=str(folder / 'same.pth'))
    runner.test()
    assert not [message for message in runner.logged if 'other classes' in message]


def test_another_spelling_is_reported_and_tested(folder, checkpoint):
    write_with_classes(
        folder / 'spelled.pth', torch.load(checkpoint), dataset_meta=dict(classes=('Cat', ' dog'))
    )
    runner = make_runner(folder, load_from=str(folder / 'spelled.pth'))
    runner.test()
    assert 'differ in spelling only' in logged(runner, 'other classes')


def test_a_training_is_not_resumed_with_other_classes(folder):
    make_runner(folder).train()
    path = folder / 'work/iter_2.pth'
    write_with_classes(
        path, torch.load(path, weights_only=False), dataset_meta=dict(classes=('dog', 'cat'))
    )
    runner = make_runner(
        folder, resume=True, train_cfg=dict(type='IterBasedTrainLoop', max_iters=4)
    )
    with pytest.raises(CheckpointError, match=r'train_dataloader\.dataset') as failure:
        runner.train()
    assert str(path) in str(failure.value)
    assert runner.iter == 2


def test_fine_tuning_says_what_happens_to_the_class_layers(folder, checkpoint, birds):
    path = folder / 'named.pth'
    write_with_classes(path, torch.load(checkpoint), dataset_meta=dict(classes=('cup', 'fork')))
    runner = make_runner(folder, birds, load_from=str(path))
    runner.train()
    assert 'start from initial values' in logged(runner, 'other classes')
    write_coco(folder, coco_content())
    runner = make_runner(folder, load_from=str(path))
    runner.train()
    assert 'class layers fit and are loaded' in logged(runner, 'other classes')


def test_names_are_sorted_into_four_kinds():
    model = dict(a=(1,), b=(2,), c=(3,)) | {'norm.num_batches_tracked': ()}
    result = compare_tensors(dict(a=(1,), b=(5,), d=(1,)), model)
    assert result == (['a'], dict(b=((5,), (2,))), ['c'], ['d'])
    assert not is_complete(result) and not is_foreign(result)
    assert is_complete(compare_tensors(dict(a=(1,), b=(2,), c=(3,)), model))
    assert is_foreign(compare_tensors({}, model))


def test_wrappers_of_the_model_are_seen_through():
    model = build()
    assert unwrap_model(model) is model
    assert unwrap_model(DetTTAModel(tta_cfg=dict(max_per_img=5), module=model)) is model


def test_names_in_messages():
    assert count_by_module(['a.b.c', 'a.b.d', 'a.c', 'e']) == 'a.b (2), a.c (1), e (1)'
    assert read_shapes({'module.a': torch.zeros(2, 3), 'epoch': 7}) == dict(a=(2, 3))
    assert is_original(['x', 'sem_seg_head.y']) and not is_original(['panoptic_head.y'])
