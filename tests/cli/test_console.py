"""The console shows what matters; the log file has everything."""

import logging
import warnings
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from mask_dino.cli.console import log_prints, quiet_console

LINE = (
    'Iter(train) [10/40]  lr: 2.6857e-04  loss: 193.3404  d0.loss_cls: 7.7214  d12.loss_iou: 1.9e-01  loss_cls: 7.7818'
    '  enc_loss_bbox: 2.2923  d1.dn_loss_cls: 10.4129  dn_loss_dice: nan  decode.d0.loss_mask: 3.0'
    '  decode.dn_loss_iou: 0.8  aux_0.loss_ce: 0.5'
)


def make_logger(tmp_path: Path) -> MMLogger:
    """Return a logger with a log file. Its console is where standard output goes now."""
    name = f'console-{tmp_path.name}'
    made = MMLogger.get_instance(name, log_file=str(tmp_path / 'run.log'), log_level='INFO')
    quiet_console(made)
    return made


def written(tmp_path: Path, capsys: pytest.CaptureFixture) -> tuple[str, str]:
    """Return the console and the log file."""
    return capsys.readouterr().out, next(tmp_path.rglob('*.log')).read_text()


@pytest.mark.parametrize(
    'text',
    ['Config:\nmodel = 3', 'Hooks will be executed in the following order:', '\n----\nPython'],
)
def test_known_details_are_only_in_the_file(text, tmp_path, capsys):
    logger = make_logger(tmp_path)
    logger.info(text)
    console, file = written(tmp_path, capsys)
    assert text not in console
    assert text in file


@pytest.mark.parametrize('level', [logging.INFO, logging.WARNING, logging.ERROR])
def test_everything_else_is_in_both(level, tmp_path, capsys):
    logger = make_logger(tmp_path)
    logger.log(level, 'train_dataloader: 80 images')
    console, file = written(tmp_path, capsys)
    assert '80 images' in console
    assert '80 images' in file


def test_an_equal_message_is_shown_once_unless_it_is_an_error(tmp_path, capsys):
    logger = make_logger(tmp_path)
    for _ in range(3):
        logger.info('left out: bbox_mAP_l')
        logger.error('the disk is full')
    console, file = written(tmp_path, capsys)
    assert console.count('left out: bbox_mAP_l') == 1
    assert console.count('the disk is full') == file.count('left out: bbox_mAP_l') == 3


@pytest.mark.parametrize(('rates', 'shown'), [('1e-4 lr: 1e-4', ''), ('1e-4 lr: 1e-5', 'base_lr')])
def test_equal_learning_rates_are_shown_once(rates, shown, tmp_path, capsys):
    logger = make_logger(tmp_path)
    logger.info(f'Iter(train) [10/40]  base_lr: {rates}  loss: 3.0')
    console, file = written(tmp_path, capsys)
    assert ('base_lr' in console) == bool(shown)
    assert 'lr: 1e-' in console
    assert f'base_lr: {rates}' in file


def test_a_line_of_training_has_the_total_and_the_last_layer(tmp_path, capsys):
    logger = make_logger(tmp_path)
    logger.info(LINE)
    console, file = written(tmp_path, capsys)
    assert LINE in file
    [line] = [line for line in console.splitlines() if 'Iter(train)' in line]
    assert line.endswith('Iter(train) [10/40]  lr: 2.6857e-04  loss: 193.3404  loss_cls: 7.7818')


def test_the_console_names_the_file(tmp_path, capsys):
    make_logger(tmp_path)
    console, _ = written(tmp_path, capsys)
    assert str(next(tmp_path.rglob('*.log'))) in console


def test_what_a_library_prints_goes_to_the_file_also_before_an_error(tmp_path, capsys):
    logger = make_logger(tmp_path)

    def load() -> None:
        print('loading annotations into memory...')
        raise EOFError

    with log_prints(logger):
        print('size mismatch for weight')
    with pytest.raises(EOFError), log_prints(logger):
        load()
    console, file = written(tmp_path, capsys)
    assert 'size mismatch' not in console
    assert 'loading annotations' not in console
    assert 'size mismatch' in file
    assert 'loading annotations' in file


@pytest.mark.parametrize(
    ('folder', 'shown'), [('mmseg', False), ('mmdet', False), ('my_package', True)]
)
def test_python_warnings_of_the_frameworks_are_only_in_the_file(folder, shown, tmp_path, capsys):
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter('always')
        make_logger(tmp_path)
        warnings.warn_explicit('old function', UserWarning, f'/site/{folder}/a.py', 7)
        file = next(tmp_path.rglob('*.log')).read_text()
    assert bool(others) == shown
    assert ('old function' in file) != shown
    assert 'old function' not in capsys.readouterr().out
