"""The command lines train, resume and test, alone and in two processes, with configs of mmdet and mmseg."""

import json
import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS

from mask_dino.checkpoints import load_checkpoint_safely
from mask_dino.cli import testing, training
from mask_dino.cli.common import UsageError

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / 'tools'
CONFIGS = HERE / 'configs'


def run(*command, code=0, **environment):
    """Run a tool and return what it wrote."""
    path = os.pathsep.join([str(TOOLS.parent), str(HERE.parent), os.environ.get('PYTHONPATH', '')])
    environment = {
        **os.environ,
        'PYTHONPATH': path,
        'PYTHON': sys.executable,
        'OMP_NUM_THREADS': '1',
        **environment,
    }
    start = ['bash'] if str(command[0]).endswith('.sh') else [sys.executable]
    done = subprocess.run(
        [*start, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


def metrics(work_dir):
    """The metrics that a test left in its working directory."""
    return json.loads(next(work_dir.glob('*/*.json')).read_text())


def read_checkpoint(path):
    """Read a checkpoint of a config that imports the model of these tests."""
    return load_checkpoint_safely(path, trusted_packages=['helpers'])


def weights(path):
    return torch.cat([value.flatten() for value in read_checkpoint(path)['state_dict'].values()])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The working directory of four iterations."""
    work_dir = tmp_path_factory.mktemp('trained')
    run(TOOLS / 'train.py', CONFIGS / 'line.py', '--work-dir', work_dir)
    return work_dir


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(trained, tmp_path):
    whole = read_checkpoint(trained / 'iter_4.pth')
    (tmp_path / 'last_checkpoint').write_text(
        '/gone/iter_2.pth'
    )  # the working directory has moved since
    (tmp_path / 'iter_2.pth').write_bytes((trained / 'iter_2.pth').read_bytes())
    log = run(TOOLS / 'train.py', CONFIGS / 'line.py', '--work-dir', tmp_path, '--resume')
    assert 'resumed epoch: 0, iter: 2' in log
    resumed = read_checkpoint(tmp_path / 'iter_4.pth')
    assert torch.equal(weights(trained / 'iter_4.pth'), weights(tmp_path / 'iter_4.pth'))
    assert not torch.equal(weights(trained / 'iter_2.pth'), weights(tmp_path / 'iter_4.pth'))
    assert resumed['param_schedulers'] == whole['param_schedulers']
    for name, history in whole['message_hub']['log_scalars'].items():
        if 'time' not in name:
            assert np.array_equal(resumed['message_hub']['log_scalars'][name].data, history.data), (
                name
            )
    assert torch.equal(
        resumed['ema_state_dict']['module.linear.weight'],
        whole['ema_state_dict']['module.linear.weight'],
    )


def test_two_processes_train_as_one_with_their_batches_together(trained, tmp_path):
    options = ['--work-dir', tmp_path, '--cfg-options', 'train_dataloader.batch_size=1']
    log = run(TOOLS / 'dist_train.sh', CONFIGS / 'line.py', 2, *options)
    assert 'the process group was left behind' not in log  # it could abort a finished training
    for name in ('iter_2.pth', 'iter_4.pth'):
        assert torch.allclose(weights(trained / name), weights(tmp_path / name), atol=1e-6)


def test_two_processes_test_as_one(trained, tmp_path):
    log = run(
        TOOLS / 'dist_test.sh',
        CONFIGS / 'line.py',
        trained / 'iter_4.pth',
        2,
        '--work-dir',
        tmp_path,
    )
    assert 'the process group was left behind' not in log
    slope, offset, bias = weights(trained / 'iter_4.pth')[-3:]
    assert metrics(tmp_path)['line/height'] == pytest.approx(float(slope * 3.5 / 8 + offset + bias))


class Attack:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_malicious_checkpoint_is_refused(trained, tmp_path):
    state = {**read_checkpoint(trained / 'iter_4.pth'), 'hidden': Attack(tmp_path / 'trace')}
    torch.save(state, tmp_path / 'bad.pth')
    log = run(
        TOOLS / 'test.py', CONFIGS / 'line.py', tmp_path / 'bad.pth', '--work-dir', tmp_path, code=1
    )
    last = log.strip().splitlines()[-1]
    assert last.startswith(
        f'error: checkpoint {tmp_path / "bad.pth"} was refused. Found in it: io.open'
    )
    assert not (tmp_path / 'trace').exists()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Four images of 64 pixels with a box each, for detection and segmentation."""
    root = tmp_path_factory.mktemp('data')
    (root / 'images').mkdir()
    (root / 'semantic').mkdir()
    images, annotations = [], []
    for index in range(4):
        classes = np.zeros((64, 64), np.uint8)
        classes[8:32, 8 + index : 32] = 1
        cv2.imwrite(str(root / f'semantic/{index}.png'), classes)
        cv2.imwrite(
            str(root / f'images/{index}.png'), np.repeat(60 + 100 * classes[..., None], 3, axis=2)
        )
        images.append({'id': index, 'file_name': f'{index}.png', 'width': 64, 'height': 64})
        box = {'bbox': [8 + index, 8, 24 - index, 24], 'area': 24 * (24 - index), 'iscrowd': 0}
        annotations.append({'id': index + 1, 'image_id': index, 'category_id': 1, **box})
    categories = [{'id': 1, 'name': 'box'}, {'id': 2, 'name': 'disc'}]
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / 'coco.json').write_text(json.dumps(coco))
    return root


def test_a_detector_is_trained_and_tested(data, tmp_path):
    options = ['--work-dir', tmp_path / 'train', '--auto-scale-lr']
    run(TOOLS / 'train.py', CONFIGS / 'det.py', *options, DATA=str(data))
    (group,) = read_checkpoint(tmp_path / 'train/epoch_1.pth')['optimizer']['param_groups']
    assert group['lr'] == pytest.approx(0.001 * 2 / 16), (
        'batches of 2, where the config is meant for 16'
    )
    results, drawn, checkpoint = (
        tmp_path / 'results.pkl',
        tmp_path / 'drawn',
        tmp_path / 'train/epoch_1.pth',
    )
    options = ['--tta', '--out', results, '--show-dir', drawn, '--work-dir', tmp_path / 'test']
    run(TOOLS / 'test.py', CONFIGS / 'det.py', checkpoint, *options, DATA=str(data))
    predictions = pickle.loads(results.read_bytes())
    assert [Path(p['img_path']).name for p in predictions] == [f'{index}.png' for index in range(4)]
    assert all(len(p['pred_instances']['scores']) == 3 for p in predictions), (
        'max_per_img of the tta_model'
    )
    assert sorted(path.name for path in drawn.iterdir()) == [f'{index}.png' for index in range(4)]
    assert 'coco/bbox_mAP' in metrics(tmp_path / 'test')


def test_a_segmentor_is_trained_and_tested(data, tmp_path):
    run(
        TOOLS / 'train.py',
        CONFIGS / 'seg.py',
        '--work-dir',
        tmp_path / 'train',
        '--amp',
        DATA=str(data),
    )
    classes, drawn, checkpoint = (
        tmp_path / 'classes',
        tmp_path / 'drawn',
        tmp_path / 'train/iter_2.pth',
    )
    options = ['--tta', '--out', classes, '--show-dir', drawn, '--work-dir', tmp_path / 'test']
    run(TOOLS / 'test.py', CONFIGS / 'seg.py', checkpoint, *options, DATA=str(data))
    assert sorted(path.name for path in classes.iterdir()) == [f'{index}.png' for index in range(4)]
    assert cv2.imread(str(classes / '0.png'), cv2.IMREAD_UNCHANGED).shape == (64, 64)
    assert len(list(drawn.rglob('*.png'))) == 4
    assert 'mIoU' in metrics(tmp_path / 'test')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gone.py'], 'config gone.py does not exist'),
        ([CONFIGS / 'det.py', '--launcher', 'pytorch'], 'start tools/dist_train.sh'),
        (
            [CONFIGS / 'det.py', '--resume', 'gone.pth'],
            '--resume: checkpoint gone.pth does not exist',
        ),
        (
            [CONFIGS / 'det.py', '--cfg-options', 'load_from=gone.pth'],
            'load_from: checkpoint gone.pth does not exist',
        ),
    ],
)
def test_a_wrong_command_line_is_explained(monkeypatch, capsys, arguments, message):
    monkeypatch.setenv('DATA', 'data')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_scripts_say_how_to_use_them(script):
    assert f'tools/{script}' in run(TOOLS / script, code=2)


@pytest.mark.parametrize(
    ('on_cpu', 'wrapper', 'expected'),
    [
        (True, {}, {'type': 'BFloat16OptimWrapper'}),
        (
            True,
            {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'loss_scale': 512.0},
            {'type': 'BFloat16OptimWrapper'},
        ),
        (False, {'type': 'OptimWrapper'}, {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}),
        (
            False,
            {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'},
            {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'},
        ),
    ],
)
def test_amp_suits_the_machine(monkeypatch, on_cpu, wrapper, expected):
    monkeypatch.setattr(training, 'on_cpu', lambda: on_cpu)
    config = Config({'optim_wrapper': {**wrapper, 'optimizer': {'type': 'SGD'}}})
    training.enable_amp(config)
    assert config.optim_wrapper == {**expected, 'optimizer': {'type': 'SGD'}}


def test_bfloat16_trains():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build({'type': 'BFloat16OptimWrapper', 'optimizer': optimizer})
    before = model.weight.clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(3, 2))
    wrapper.update_params(out.float().sum())
    assert out.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    assert torch.allclose(model.weight, before - 0.3)


@pytest.mark.parametrize(
    'config', [{}, {'optim_wrapper': {'type': 'OptimWrapperDict', 'optimizer': {}}}]
)
def test_amp_without_an_optimizer_to_wrap_is_refused(config):
    with pytest.raises(UsageError, match='--amp'):
        training.enable_amp(Config(config))


def test_the_learning_rate_is_scaled_only_if_its_batch_size_is_known():
    config = Config({'auto_scale_lr': {'base_batch_size': 16}})
    training.enable_auto_scale_lr(config)
    assert config.auto_scale_lr.enable
    with pytest.raises(UsageError, match='base_batch_size'):
        training.enable_auto_scale_lr(Config({}))


def test_resuming_nothing_starts_from_the_beginning(tmp_path):
    config = Config({'work_dir': str(tmp_path), 'load_from': 'pretrained.pth'})
    training.resume_training(config, 'auto')
    assert 'resume' not in config
    assert config.load_from == 'pretrained.pth'


def test_resuming_what_cannot_be_resumed_is_refused(tmp_path):
    config = Config({'work_dir': str(tmp_path)})
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    with pytest.raises(UsageError, match=r'no state of a training .* load_from='):
        training.resume_training(config, str(tmp_path / 'weights.pth'))
    with pytest.raises(UsageError, match=r'nowhere\.pth does not exist'):
        training.resume_training(config, 'nowhere.pth')


def test_resuming_takes_the_newest_readable_checkpoint_and_says_so(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv('MASK_DINO_TRUSTED_PACKAGES', 'helpers')  # the package of the model
    config = Config({'work_dir': str(tmp_path)})
    (tmp_path / 'last_checkpoint').write_text('/gone/iter_4.pth')
    whole = (trained / 'iter_4.pth').read_bytes()
    (tmp_path / 'iter_4.pth').write_bytes(whole[:-9])
    (tmp_path / 'iter_2.pth').write_bytes((trained / 'iter_2.pth').read_bytes())
    training.resume_training(config, 'auto')
    assert config.resume and config.load_from == str(tmp_path / 'iter_2.pth')
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f'--resume: skipped {tmp_path / "iter_4.pth"} (')
    assert printed[1] == f'--resume: {tmp_path / "iter_2.pth"} is the newest checkpoint'


def test_drawing_adds_what_the_config_lacks():
    config = Config({'default_scope': 'mmseg'})
    testing.draw_results(config, False, 'drawn', 0)
    assert config.default_hooks.visualization.type == 'SegVisualizationHook'
    assert config.visualizer.type == 'SegLocalVisualizer'
    config = Config(
        {'default_scope': 'mmdet', 'default_hooks': {'visualization': {'type': 'MyHook'}}}
    )
    testing.draw_results(config, True, None, 3)
    assert config.default_hooks.visualization == {
        'type': 'MyHook',
        'draw': True,
        'show': True,
        'wait_time': 3,
    }


def test_testing_refuses_what_the_config_cannot_do():
    with pytest.raises(UsageError, match='no tta_model and no tta_pipeline'):
        testing.add_augmentation(Config({'model': {}}))
    with pytest.raises(UsageError, match='default_scope is None'):
        testing.draw_results(Config({}), True, None, 0)
    with pytest.raises(UsageError, match=r'\.pkl'):
        testing.save_predictions(
            Config({'default_scope': 'mmdet', 'test_evaluator': {}}), 'results.json'
        )
