"""Arguments of old versions, wrong keys, and loops and samplers that do not fit are named before anything is built."""

import logging
from pathlib import Path

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

import mask_dino.seg  # noqa: F401  registers what configs name
from mask_dino.datasets.checks.config import check_resumable, config_problems

FINITE = dict(type='DefaultSampler', shuffle=True)
INFINITE = dict(type='InfiniteSampler', shuffle=True)
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=2)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=2)


def dataset_problems(scope: str = 'mmdet', **dataset: object) -> list[str]:
    loader = dict(
        sampler=FINITE,
        dataset=dict(dict(type='CheckedCocoDataset', data_prefix=dict(img='')), **dataset),
    )
    return config_problems(dict(default_scope=scope, train_dataloader=loader), ['train_dataloader'])


def loop_problems(
    train_cfg: dict, train: dict = FINITE, val: dict = FINITE, **config: object
) -> list[str]:
    loaders = dict(train_dataloader=dict(sampler=train), val_dataloader=dict(sampler=val))
    config = dict(default_scope='mmdet', train_cfg=train_cfg, **loaders, **config)
    return config_problems(config, ['train_dataloader', 'val_dataloader'])


def test_a_good_data_set_is_silent():
    assert (
        dataset_problems(
            ann_file='a.json', filter_cfg=dict(filter_empty_gt=True), backend_args=None
        )
        == []
    )


@pytest.mark.parametrize(
    ('arguments', 'remedy'),
    [
        (dict(img_prefix='train/'), 'data_prefix=dict(img=...) instead of img_prefix'),
        (dict(classes=('a',)), 'metainfo=dict(classes=...) instead of classes'),
        (dict(filter_empty_gt=True), 'filter_cfg=dict(filter_empty_gt=...)'),
        (dict(anything=1), 'arguments that CheckedCocoDataset does not take: anything'),
        (dict(data_prefix=dict(img_path='train/')), 'lacks the key img'),
        (dict(data_prefix=dict(img='a', image='b')), 'has the key image'),
        (dict(data_prefix='train/'), "data_prefix is 'train/'"),
        (dict(pipeline=[dict(type='Resize', img_scale=(8, 8))]), 'scale=... instead of img_scale'),
        (
            dict(pipeline=[dict(type='RandomFlip', flip_ratio=0.5)]),
            'prob=... instead of flip_ratio',
        ),
        (dict(pipeline=[dict(type='DefaultFormatBundle')]), 'PackDetInputs'),
    ],
    ids=str,
)
def test_arguments_of_old_versions_are_named_with_what_replaces_them(arguments, remedy):
    (problem,) = dataset_problems(**arguments)
    assert problem.startswith('train_dataloader: ') and remedy in problem


def test_data_sets_of_mmseg_have_other_keys():
    options = dict(scope='mmseg', type='ADE20KDataset', ann_file='names.txt')
    assert dataset_problems(**options, data_prefix=dict(img_path='a', seg_map_path='b')) == []
    problems = dataset_problems(**options, data_prefix=dict(img='a'), img_dir='a')
    assert any(
        'data_prefix=dict(img_path=...) instead of img_dir' in problem for problem in problems
    )
    assert any('lacks the key img_path' in problem for problem in problems)


def test_missing_data_prefix_counts_where_the_class_needs_one():
    loader = dict(sampler=FINITE, dataset=dict(type='CocoDataset', ann_file='a.json'))
    (problem,) = config_problems(
        dict(default_scope='mmdet', val_dataloader=loader), ['val_dataloader']
    )
    assert problem.startswith('val_dataloader: data_prefix of CocoDataset lacks the key img')


def test_sections_of_old_versions_are_named():
    (problem,) = config_problems(dict(data=dict(samples_per_gpu=2, train=dict())), [])
    assert 'train_dataloader' in problem
    loader = dict(sampler=FINITE, samples_per_gpu=2)
    (problem,) = config_problems(dict(train_dataloader=loader), ['train_dataloader'])
    assert 'Write batch_size' in problem


@pytest.mark.parametrize(
    ('train_cfg', 'train', 'val', 'words'),
    [
        (EPOCHS, FINITE, FINITE, []),
        (ITERATIONS, FINITE, FINITE, []),
        (ITERATIONS, INFINITE, FINITE, []),
        (dict(by_epoch=False, max_iters=2), INFINITE, FINITE, []),
        (EPOCHS, INFINITE, FINITE, ['train_dataloader: its sampler never ends']),
        (
            dict(by_epoch=True, max_epochs=2),
            INFINITE,
            FINITE,
            ['train_dataloader: its sampler never ends'],
        ),
        (ITERATIONS, INFINITE, INFINITE, ['val_dataloader: its sampler never ends']),
        (
            EPOCHS,
            dict(type='GroupMultiSourceSampler'),
            INFINITE,
            ['train_dataloader', 'val_dataloader'],
        ),
        (
            EPOCHS | dict(max_iters=5),
            FINITE,
            FINITE,
            ['EpochBasedTrainLoop does not take max_iters'],
        ),
        (
            ITERATIONS | dict(max_epochs=5),
            FINITE,
            FINITE,
            ['IterBasedTrainLoop does not take max_epochs'],
        ),
    ],
)
def test_loops_and_samplers_must_fit(train_cfg, train, val, words):
    problems = loop_problems(train_cfg, train, val)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_schedulers_that_wait_for_epochs_need_a_loop_of_epochs():
    schedulers = [dict(type='LinearLR', by_epoch=False), dict(type='MultiStepLR', milestones=[3])]
    assert loop_problems(EPOCHS, param_scheduler=schedulers) == []
    (problem,) = loop_problems(ITERATIONS, INFINITE, param_scheduler=schedulers)
    assert problem.startswith('param_scheduler: MultiStepLR') and 'by_epoch=False' in problem


def test_what_would_make_a_checkpoint_be_refused_is_named_before_training():
    assert check_resumable(dict(model=dict(type='MaskDINO'), lr=1e-4)) == []
    [finding] = check_resumable(Config(dict(data=dict(root=Path('data/mine')))))
    assert finding.level == logging.ERROR and "data.root=PosixPath('data/mine')" in finding.message
    [finding] = check_resumable(Config(dict(model=dict(type='other_package.Model'))))
    assert finding.level == logging.WARNING
    assert 'resumed: the config names' in finding.message
    assert 'MASK_DINO_TRUSTED_PACKAGES=other_package' in finding.message


@pytest.mark.parametrize(
    ('options', 'remedy'),
    [
        (dict(persistent_workers=True), 'Write persistent_workers=False, or num_workers=1.'),
        (dict(prefetch_factor=2), 'Write prefetch_factor=None, or num_workers=1.'),
        (dict(timeout=5), 'Write timeout=0, or'),
        (dict(multiprocessing_context='fork'), 'Write multiprocessing_context=None, or'),
    ],
    ids=str,
)
def test_options_of_loader_processes_need_some(options, remedy):
    loader = dict(batch_size=1, num_workers=0, dataset=[1, 2], sampler=FINITE) | options
    with pytest.raises((ValueError, AssertionError)):  # what torch says, after the data were read
        next(iter(DataLoader([1, 2], **(options | dict(num_workers=0)))))
    [problem] = config_problems(dict(train_dataloader=loader), ['train_dataloader'])
    assert problem.startswith('train_dataloader: num_workers is 0') and remedy in problem
    workers = loader | dict(num_workers=1)
    assert config_problems(dict(train_dataloader=workers), ['train_dataloader']) == []


@pytest.mark.parametrize('size', [0, -1, '8', None, 2.5])
def test_a_batch_has_a_whole_number_of_images(size):
    loader = dict(batch_size=size, dataset=[1, 2], sampler=FINITE)
    [problem] = config_problems(dict(train_dataloader=loader), ['train_dataloader'])
    assert problem.startswith(f'train_dataloader: batch_size is {size!r}')


def test_an_evaluation_leaves_out_no_image():
    loader = dict(dataset=[1, 2], sampler=FINITE, drop_last=True)
    for name in ('val_dataloader', 'test_dataloader'):
        [problem] = config_problems({name: loader}, [name])
        assert problem.startswith(f'{name}: drop_last leaves out')
    assert config_problems(dict(train_dataloader=loader), ['train_dataloader']) == []
