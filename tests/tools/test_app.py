"""The command of the page says what is wrong before it loads anything."""

import subprocess
import sys

import app
import pytest


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.pth'], 'config and its checkpoint'),
        (['a.py', 'b.pth', 'c.pth'], 'config and its checkpoint'),
        (['a.onnx', '--max-side', '10'], '--max-side 10'),
    ],
)
def test_wrong_arguments_are_named(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, 'argv', ['app.py', *arguments])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['app.py', 'model.onnx'])
    monkeypatch.setattr(app, 'PACKAGES', dict(no_such_module='no-such-package', json='json'))
    with pytest.raises(SystemExit, match=r"needs no-such-package: pip install 'mask_dino\[demo\]'"):
        app.main()


def test_exported_models_load_no_torch():
    code = (
        'import sys, mask_dino.demo.session, mask_dino.demo.predictors, mask_dino.demo.examples; '
        'print(*sorted({"torch", "mmengine", "mmcv", "gradio"} & sys.modules.keys()))'
    )
    loaded = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize('model', [['no.onnx'], ['no.py', 'no.pth']])
def test_missing_files_are_named(model):
    load = app.load_exported if len(model) == 1 else app.load_trained
    with pytest.raises(SystemExit, match=r'error: .*no\.(onnx|py) does not exist'):
        load(*model, *(['cpu'] if len(model) == 2 else []))
