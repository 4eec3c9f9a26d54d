import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

import onnx
from helpers.exported import (
    INSTANCE,
    PANOPTIC,
    EagerNetwork,
    load,
    read_config,
    save_weights,
    write_image,
)

from mask_dino.export.formats import OpenVINONetwork, write_openvino
from mask_dino.runtime import ModelFileError, OnnxNetwork, Segmenter
from mask_dino.runtime.metadata import read_info

TOOL = 'tools/deployment/export.py'
# The smallest network that has every part.
SMALL = dict(
    model__backbone__base_channels=8,
    model__panoptic_head__pixel_decoder__in_channels=[8, 16, 32, 64],
    model__panoptic_head__pixel_decoder__num_layers=1,
    model__panoptic_head__decoder__num_layers=1,
)
SETTINGS = [f'{key.replace("__", ".")}={value}'.replace(' ', '') for key, value in SMALL.items()]

# Operators that docs/operators.md of github.com/onnx/onnx-tensorrt lists as supported, both for TensorRT 9.2 (opsets up
# to 19) and 10.15 (opsets 9 to 24), of those that a network like this may have. For TensorRT 8.5 it lists no
# LayerNormalization.
TENSORRT = """
Abs Add And ArgMax BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv Cos Div Einsum Equal Erf Exp Expand
Flatten Floor Gather GatherElements Gemm Greater GreaterOrEqual GridSample Identity InstanceNormalization
LayerNormalization Less LessOrEqual Log MatMul Max MaxPool Min Mod Mul Neg Not Or Pad Pow Range Reciprocal ReduceMax
ReduceMean ReduceMin ReduceSum Relu Reshape Resize Shape Sigmoid Sin Slice Softmax Split Sqrt Squeeze Sub Tile TopK
Transpose Unsqueeze Where
"""

# Runs in a process in which torch and the packages of OpenMMLab cannot be imported.
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'cv2', 'scipy', 'onnx', 'pycocotools'):
            raise ImportError(name + ' was imported')
sys.meta_path.insert(0, Refuse())
import runpy
sys.argv[0] = 'mask_dino.runtime'
runpy.run_module('mask_dino.runtime', run_name='__main__')
"""


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True
    )


def fail(*arguments):
    """Return the message of a run that must end with an error."""
    process = run_tool(*arguments)
    assert process.returncode in (1, 2), process.stderr
    assert 'Traceback' not in process.stderr
    return process.stderr


@pytest.fixture(scope='module')
def config():
    return read_config(PANOPTIC, **SMALL, model__test_cfg__iou_thr=0.05)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, config):
    """Return a folder with weights and the exported model."""
    folder = tmp_path_factory.mktemp('export')
    save_weights(config, folder / 'weights.pth')
    options = ('--size', '64x96', '--cfg-options', *SETTINGS, 'model.test_cfg.iou_thr=0.05')
    process = run_tool(
        f'configs/maskdino/{PANOPTIC}', folder / 'weights.pth', folder / 'model.onnx', *options
    )
    assert process.returncode == 0, process.stderr
    (folder / 'log.txt').write_text(process.stdout)
    return folder


def test_the_command_compares_the_file_with_the_model(folder):
    lines = (folder / 'log.txt').read_text().splitlines()
    compared = [line for line in lines if 'largest differences' in line]
    assert any('2 x 3 x 64 x 96' in line for line in compared)
    assert any('1 x 3 x 96 x 64' in line for line in compared)
    assert all(
        float(value) <= 1e-3 for line in compared for value in re.findall(r'\d\.\de[+-]\d+', line)
    )
    assert 'instance, panoptic, semantic of 8 classes' in lines[-1]
    names = sorted(path.name for path in folder.iterdir())
    assert names == ['log.txt', 'model.onnx', 'weights.pth']


@pytest.mark.parametrize('size', [(70, 100), (200, 90)])
def test_results_of_the_file_are_those_of_the_model(folder, config, tmp_path, size):
    image = write_image(tmp_path / 'image.png', *size)
    result = Segmenter(folder / 'model.onnx')(image)
    expected = Segmenter(EagerNetwork(load(config, tmp_path)))(image)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
    assert sorted(result.labels) == sorted(expected.labels)
    # Random weights leave many pixels between two classes, where the last digit decides.
    assert (result.panoptic == expected.panoptic).mean() > 0.99
    assert (result.semantic == expected.semantic).mean() > 0.99


def test_batches_of_any_size_run(folder, tmp_path):
    images = [write_image(tmp_path / f'{number}.png', 64, 90) for number in range(3)]
    segmenter = Segmenter(folder / 'model.onnx')
    together = segmenter(images, batch_size=3)
    for image, result in zip(images, together, strict=True):
        np.testing.assert_allclose(result.scores, segmenter(image).scores, atol=1e-4)


def test_openvino_reads_the_file_and_agrees(folder, tmp_path):
    pytest.importorskip('openvino', reason='OpenVINO is optional: pip install openvino')
    copy = shutil.copyfile(folder / 'model.onnx', tmp_path / 'copy.onnx')
    network = OnnxNetwork(folder / 'model.onnx')
    files = write_openvino(copy, network.info, tmp_path / 'model.xml')
    assert sorted(tmp_path.iterdir()) == sorted(files)
    image = write_image(tmp_path / 'image.png', 64, 90)
    expected = Segmenter(network)(image)
    result = Segmenter(OpenVINONetwork(tmp_path / 'model.xml'))(image)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-3)
    assert (result.panoptic == expected.panoptic).mean() > 0.99
    with pytest.raises(ModelFileError, match=r'none\.xml'):
        OpenVINONetwork(tmp_path / 'none.xml')


def test_the_graph_has_no_operator_that_tensorrt_lacks(folder):
    model = onnx.load(folder / 'model.onnx')
    assert {node.op_type for node in model.graph.node} <= set(TENSORRT.split())
    assert {entry.domain: entry.version for entry in model.opset_import} == {'': 18}
    onnx.checker.check_model(model)


# The axes of these operators must be constants, by the column "Restrictions" of the same page.
INPUT_OF_AXES = dict(Squeeze=1, Unsqueeze=1, ReduceSum=1, ReduceMean=1, ReduceMax=1, Slice=3)


def test_the_graph_keeps_to_the_restrictions_of_tensorrt(folder):
    graph = onnx.load(folder / 'model.onnx').graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == 'Constant'}
    for node in graph.node:
        place = INPUT_OF_AXES.get(node.op_type)
        if place is not None and len(node.input) > place:
            assert node.input[place] in constants, node
        settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == 'TopK':
            assert settings.get('sorted', 1) == 1
        if node.op_type == 'Resize':
            assert settings['mode'] in (b'nearest', b'linear') and not settings.get('antialias')
        if node.op_type in ('MaxPool', 'LayerNormalization'):
            assert len(node.output) == 1 and set(settings.get('dilations', [1])) == {1}


def test_the_command_of_the_runtime_needs_neither_torch_nor_openmmlab(folder, tmp_path):
    image = write_image(tmp_path / 'image.png', 64, 90)
    bad = tmp_path / 'bad.png'
    bad.write_text('no image')
    arguments = [
        folder / 'model.onnx',
        image,
        bad,
        '--out-dir',
        tmp_path / 'out',
        '--score-thr',
        '0',
    ]
    process = subprocess.run(
        [sys.executable, '-c', WITHOUT_TORCH, *map(str, arguments)], capture_output=True, text=True
    )
    assert process.returncode == 1, process.stderr
    assert 'bad.png cannot be read' in process.stdout and '1 of 2 images failed' in process.stderr
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == [
        f'image.{end}' for end in ('jpg', 'json', 'masks.png', 'panoptic.png', 'semantic.png')
    ]


def test_a_file_that_was_cut_short_is_refused(folder, tmp_path):
    whole = (folder / 'model.onnx').read_bytes()
    for share in (0.0, 0.3, 0.9, 0.999):
        cut = tmp_path / 'cut.onnx'
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelFileError, match=r'cut\.onnx'):
            Segmenter(cut)


def test_files_of_other_programs_are_refused(tmp_path):
    identity = onnx.helper.make_node('Identity', ['x'], ['y'])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [identity],
        'other',
        [value('x', onnx.TensorProto.FLOAT, [1])],
        [value('y', onnx.TensorProto.FLOAT, [1])],
    )
    opset = onnx.helper.make_opsetid('', 18)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / 'other.onnx'
    )
    with pytest.raises(ModelFileError, match='another program'):
        Segmenter(tmp_path / 'other.onnx')
    with pytest.raises(ModelFileError, match='does not exist'):
        Segmenter(tmp_path / 'missing.onnx')


def test_graphs_that_their_metadata_do_not_fit_are_refused(folder, tmp_path):
    model = onnx.load(folder / 'model.onnx')
    model.graph.output.pop()
    onnx.save(model, tmp_path / 'fewer.onnx')
    with pytest.raises(
        ModelFileError, match=r'fewer\.onnx has .*\(images; masks\): export it again'
    ):
        Segmenter(tmp_path / 'fewer.onnx')


def test_metadata_that_were_changed_by_hand_are_refused(folder, tmp_path):
    model = onnx.load(folder / 'model.onnx')
    (entry,) = (entry for entry in model.metadata_props if entry.key == 'mask_dino')
    info = read_info(entry.value, 'model.onnx')
    fewer = info._replace(classes=info.classes[:5], palette=info.palette[:5])
    changed = (
        (fewer, 'probabilities of 8 classes, but its metadata name 5'),
        (info._replace(input=info.input._replace(embedded=True)), 'takes tensor.float. of'),
        (info._replace(input=info.input._replace(static=(1, 64, 96))), 'the size .1, 64, 96.'),
    )
    for other, message in changed:
        entry.value = other.to_json()
        onnx.save(model, tmp_path / 'changed.onnx')
        with pytest.raises(ModelFileError, match=message):
            Segmenter(tmp_path / 'changed.onnx')


def test_inputs_that_the_graph_refuses_are_named(folder):
    network = OnnxNetwork(folder / 'model.onnx')
    with pytest.raises(ModelFileError, match=r'model\.onnx cannot be run on images of the shape'):
        network.run(np.zeros((1, 3, 50, 70), np.float32))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, config):
    weights = save_weights(config, tmp_path / 'weights.pth')
    error = fail(f'configs/maskdino/{INSTANCE}', weights, tmp_path / 'model.onnx')
    assert 'does not fit' in error and 'panoptic_head' in error
    assert [path.name for path in tmp_path.iterdir()] == ['weights.pth']


def test_missing_packages_are_named_before_anything_is_built(tmp_path):
    hide = "import sys; sys.modules['onnxscript'] = None; sys.argv = sys.argv[1:]; import runpy; "
    code = hide + "runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [TOOL, 'missing_config.py', 'missing.pth', str(tmp_path / 'model.onnx')]
    process = subprocess.run(
        [sys.executable, '-c', code, *arguments], capture_output=True, text=True
    )
    assert process.returncode == 1
    assert 'onnxscript' in process.stderr and "pip install 'mask_dino[export]'" in process.stderr
