import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('onnxruntime')

from helpers.exported import PANOPTIC, SEMANTIC, EagerNetwork, load, read_config, save_weights

from mask_dino.checkpoints import CheckpointError
from mask_dino.export import exporter, rules
from mask_dino.export.exporter import (
    Options,
    ParityError,
    build_network,
    check_options,
    check_parity,
    example_images,
    export_model,
)
from mask_dino.export.formats import write_torch
from mask_dino.export.model import load_model
from mask_dino.export.packages import ExportError
from mask_dino.export.parity import compare_outputs
from mask_dino.runtime.metadata import ModelFileError, ResizeRule, read_info


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return load(read_config(PANOPTIC), tmp_path_factory.mktemp('trained'))


@pytest.mark.parametrize(
    ('options', 'file', 'message'),
    [
        (dict(opset=11), 'model.onnx', r'--opset 11: choose 18'),
        (dict(size=(0, 64), static=True), 'model.onnx', r'--size 0x64'),
        (dict(size=(10**20, 64)), 'model.onnx', r'1 to 8192 pixels'),
        (dict(), 'model.pt2', r'ends in \.onnx'),
        (dict(format='torch'), 'model.onnx', r'ends in \.pt2'),
        (dict(tolerance=float('nan')), 'model.onnx', '--tolerance nan: choose'),
        (dict(static=True, embedded=True), 'model.onnx', 'leave one of the two out'),
        (dict(raw=True, tasks=('instance',)), 'model.onnx', 'leave one of the two out'),
    ],
)
def test_options_that_exclude_each_other_are_refused(tmp_path, options, file, message):
    with pytest.raises(ExportError, match=message):
        check_options(Options(**options), tmp_path / file)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    config = read_config(PANOPTIC)
    weights = torch.load(save_weights(config, tmp_path / 'weights.pth'))
    weights['state_dict']['panoptic_head.prediction.class_embed.bias'][0] = float('nan')
    torch.save(weights, tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=r'in 1 tensors, such as panoptic_head\.prediction'):
        load_model(config, tmp_path / 'weights.pth')


def test_a_static_size_must_be_a_multiple_of_the_padding(trained):
    with pytest.raises(ExportError, match='multiples of 32; choose 128x96'):
        build_network(trained, Options(static=True, size=(100, 96)))


def test_open_axes_need_a_trace_of_more_than_one_step(trained):
    with pytest.raises(ExportError, match='choose 64x64 or more'):
        build_network(trained, Options(size=(32, 96)))


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ExportError, match='is a file, not a folder'):
        check_options(Options(), tmp_path / 'file' / 'model.onnx')


def test_a_folder_that_cannot_be_made_is_named_before_the_trace(tmp_path, trained):
    (tmp_path / 'file').write_text('')
    lines = []
    for name in ('file/inner/model.onnx', 'm' * 250 + '.onnx'):
        with pytest.raises(OSError, match=r'\.onnx cannot be written: .*choose another place'):
            export_model(trained, tmp_path / name, Options(), lines.append)
    assert lines == []


@pytest.mark.parametrize('error', [KeyboardInterrupt, ParityError('other numbers')])
def test_nothing_is_left_of_an_export_that_ends_early(tmp_path, trained, monkeypatch, error):
    def write_half(program, example, info, target):
        target.path.write_bytes(b'half')
        raise error

    monkeypatch.setattr(exporter, 'trace_network', lambda *arguments: None)
    monkeypatch.setattr(exporter, 'write_file', write_half)
    with pytest.raises((KeyboardInterrupt, ParityError)):
        export_model(trained, tmp_path / 'model.onnx', Options(), lambda text: None)
    assert list(tmp_path.iterdir()) == []


FULL = Path('/dev/full')


@pytest.mark.skipif(not FULL.exists(), reason='only Linux has a device that is always full')
def test_a_full_disk_ends_an_export_of_torch_with_an_error(trained):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    with pytest.raises(OSError, match='No space left'):
        write_torch(program, EagerNetwork(trained).info, FULL)


def test_a_semantic_model_makes_semantic_maps_only(tmp_path):
    slide = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    trained = load(read_config(SEMANTIC, model__test_cfg=slide), tmp_path)
    assert rules.choose_tasks(trained, ()) == ('semantic',)
    with pytest.raises(ExportError, match='semantic maps only'):
        rules.choose_tasks(trained, ('instance',))
    with pytest.raises(ExportError, match='mode slide'):
        build_network(trained, Options(embedded=True))


def test_transforms_that_the_runtime_lacks_are_refused():
    resize = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
    first = dict(type='LoadImageFromFile')
    assert rules.read_resize_rule([first, resize]) == ResizeRule((1333, 800), keep_ratio=True)
    unknown = (
        [dict(type='Pad', size=(64, 64))],
        [dict(resize, interpolation='nearest')],
        [resize, resize],
    )
    for transforms in unknown:
        with pytest.raises(ExportError, match='runtime'):
            rules.read_resize_rule([first, *transforms])


def test_what_a_reader_needs_survives_the_file(trained):
    for options in (dict(), dict(raw=True), dict(embedded=True), dict(static=True, size=(64, 96))):
        info = EagerNetwork(trained, **options).info
        assert read_info(info.to_json(), 'model.onnx') == info
        assert len(info.classes) == len(info.palette) == 8
        assert info.num_things == 5


def places(fields, path=()):
    """Yield the path of every field, at any depth."""
    items = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for name, value in items:
        yield (*path, name)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, name))


def replaced(fields, path, value):
    """Return the text of an entry with another value at a place; None takes the field away."""
    changed = json.loads(json.dumps(fields))
    parent = changed
    for name in path[:-1]:
        parent = parent[name]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(changed)


def test_entries_that_lack_any_field_or_have_another_type_are_refused(trained):
    fields = json.loads(EagerNetwork(trained).info.to_json())
    for path in places(fields):
        values = [{}, [[]]]
        if isinstance(path[-1], str):
            values.append(None)
        for value in values:
            with pytest.raises(ModelFileError, match=r'model\.onnx has a damaged entry'):
                read_info(replaced(fields, path, value), 'model.onnx')


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (('classes',), ['one'], 'do not fit 1 classes'),
        (('tasks',), ['pose'], 'unknown pose'),
        (('input', 'channel_order'), 'YUV', 'not RGB or BGR'),
        (('input', 'mean'), [1.0], 'each of 3 channels'),
        (('input', 'embedded'), 1, 'must be bool'),
        (('num_things',), 5.0, 'must be int'),
        (('num_things',), -1, 'do not fit 8 classes'),
        (('palette', 0), [300, 0, 0], 'from 0 to 255'),
        (('tasks',), ['semantic', 'semantic'], 'repetitions'),
        (('outputs',), [], 'lacks boxes'),
        (('input', 'std'), [1.0, 1.0, 0.0], 'more than 0'),
        (('input', 'mean'), [1.0, 1.0, float('nan')], 'mean must be finite'),
        (('input', 'padding', 'value'), 10**400, 'value must be finite'),
        (('thresholds', 'iou_thr'), float('nan'), 'iou_thr must be finite'),
        (('thresholds', 'object_mask_thr'), float('-inf'), 'object_mask_thr must be finite'),
        (('thresholds', 'iou_thr'), '0.5', 'must be float'),
        (('thresholds', 'iou_thr'), True, 'must be float'),
        (('input', 'padding', 'divisor'), 0, 'padding_divisor must be more than 0'),
        (('input', 'resize', 'scale'), [-128, 128], 'resize_scale must be more than 0'),
        (('input', 'static'), [1, 64, 2**20], 'static must be .* at most'),
        (('window',), dict(crop=[64, 64], stride=[0, 0]), 'for semantic maps only'),
        (('format',), 0, 'begin with 1'),
        (('new',), 5, 'it has unknown new'),
    ],
)
def test_entries_that_contradict_themselves_are_refused(trained, path, value, message):
    fields = json.loads(EagerNetwork(trained).info.to_json())
    with pytest.raises(ModelFileError, match=message):
        read_info(replaced(fields, path, value), 'model.onnx')


@pytest.mark.parametrize(
    ('stride', 'message'), [([0, 64], 'window must be more than 0'), ([96, 64], 'larger stride')]
)
def test_windows_that_do_not_cover_the_image_are_refused(trained, stride, message):
    info = EagerNetwork(trained, tasks=('semantic',)).info
    fields = json.loads(info.to_json())
    window = dict(crop=[64, 64], stride=stride)
    with pytest.raises(ModelFileError, match=message):
        read_info(replaced(fields, ('window',), window), 'model.onnx')


def test_damaged_and_newer_entries_are_refused_and_never_run(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = EagerNetwork(trained).info
    text = info.to_json()
    python = "__import__('os').system('touch trace')"
    yaml = '!!python/object/apply:os.system [touch trace]'
    for damaged in (text[:50], '{}', '[]', '5', 'null', 100_000 * '[', python, yaml):
        with pytest.raises(ModelFileError, match='damaged'):
            read_info(damaged, 'model.onnx')
    with pytest.raises(ModelFileError, match='newer'):
        read_info(info._replace(format=99).to_json(), 'model.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('options', [dict(), dict(raw=True), dict(tasks=('instance',))])
def test_the_model_agrees_with_itself_and_no_other_file_does(trained, options):
    eager = EagerNetwork(trained, size=(64, 96), **options)
    images = example_images(eager.network.rule, Options(size=(64, 96)))
    lines = []
    check_parity(eager.run, eager.network, images, 1e-6, lines.append)
    assert len(lines) == 3

    def run_scaled(batch):
        return eager.run(batch * np.float32(1.1))

    def run_broken(batch):
        outputs = eager.run(batch)
        return {**outputs, 'masks': outputs['masks'] * np.float32('nan')}

    for run in (run_scaled, run_broken):
        with pytest.raises(ParityError, match='differs from the model'):
            check_parity(run, eager.network, images, 1e-4, lines.append)


def test_the_order_of_queries_does_not_matter():
    rng = np.random.default_rng(0)
    model = dict(
        logits=rng.normal(size=(50, 4)).astype(np.float32),
        boxes=rng.random((50, 4), dtype=np.float32),
        masks=rng.normal(size=(50, 16, 16)).astype(np.float32),
    )
    order = rng.permutation(50)
    shuffled = {name: value[order] for name, value in model.items()}
    assert max(compare_outputs(shuffled, model).values()) < 1e-6
    shuffled['boxes'] = shuffled['boxes'] + np.float32(0.01)
    assert compare_outputs(shuffled, model)['boxes'] == pytest.approx(0.01, abs=1e-5)
