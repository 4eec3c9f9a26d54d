"""Configs inside checkpoints that try to run code, each of which would leave a file behind."""

import collections
import pickle
from pathlib import Path

import torch

MODULE = 'evil_module'


class Call:
    """Pickles as a call, the way an attack does."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


# TRACE is the file that an attack leaves behind, FOLDER a folder with code and pickles of the attacker.
TEXTS = {
    'call': "x = __import__('os').system('touch TRACE')",
    'comprehension': "x = [c for c in [open('TRACE', 'w')]]",
    'lambda': "x = (lambda: open('TRACE', 'w'))()",
    'format': 'x = f\'{open("TRACE", "w")}\'',
    'decorator': "@(lambda f: open('TRACE', 'w'))\ndef x(): pass",
    'default': "def x(y=open('TRACE', 'w')): pass",
    'argument': "x = dict(y=open('TRACE', 'w'))",
    'unpacking': "x = {**{'y': open('TRACE', 'w')}}",
    'operator': "x = 0 or open('TRACE', 'w')",
    'walrus': "x = (y := open('TRACE', 'w'))",
    'placeholder': 'x = """{{$NOBODY_SETS_THIS:"""+str(open("TRACE","w"))+"""}}"""',
    'base': "_base_ = ['FOLDER/evil_config.py']",
    'custom imports': f"custom_imports = dict(imports=['{MODULE}'], allow_failed_imports=False)",
    'custom import of a submodule': f"custom_imports = dict(imports='{MODULE}.registry')",
    'function as a model': "model = dict(type='os.system', command='touch TRACE')",
    'class as a model': "model = dict(type='logging.FileHandler', filename='TRACE')",
    'module as a model': f"model = dict(type='{MODULE}')",
    'class of a module': f"model = dict(type='{MODULE}.Model')",
    'scope': f"model = dict(type='MaskDINO', _scope_='{MODULE}')",
    'default scope': f"default_scope = '{MODULE}'\nmodel = dict(type='MaskDINO')",
    'deep': "model = dict(type='mmseg.EncoderDecoder', decode_head=dict(type='FCNHead'), "
    "backbone=dict(type='os.system', command='touch TRACE'))",
    'import by a framework': f"model = dict(type='mmengine.utils.misc.import_module', name='{MODULE}')",
    'config by a framework': "model = dict(type='mmengine.Config.fromfile', filename='FOLDER/evil_config.py')",
    'text by a framework': "model = dict(type='mmengine.Config.fromstring', file_format='.py', "
    'cfg_str=\'x = open("TRACE", "w")\')',
    'pickle by a framework': "model = dict(type='mmengine.fileio.load', file='FOLDER/evil.pkl')",
    'inferencer': "model = dict(type='mmdet.apis.DetInferencer', model='FOLDER/evil_config.py')",
    'pickle of weights by torch': "model = dict(type='torch.load', f='FOLDER/evil.pkl', weights_only=False)",
    'hub of torch': "model = dict(type='torch.hub.load', repo_or_dir='FOLDER', model='evil', source='local')",
    'private attribute': f"model = dict(type='mmengine.utils.misc.import_module.__call__', name='{MODULE}')",
    'pickle of class weights': "model = dict(type='mmseg.CrossEntropyLoss', class_weight='FOLDER/evil.pkl')",
    'yaml of class weights': "model = dict(type='mmseg.CrossEntropyLoss', class_weight='FOLDER/evil.yaml')",
    'evaluated setting': "model = dict(type='mmdet.models.task_modules.CameraMotionCompensation', "
    "warp_mode=\"open('TRACE', 'w')\")",
}


def write_files(folder: Path) -> Path:
    """Write the attacker's files to a folder and return the file that any of them leaves behind."""
    trace = folder / 'trace'
    code = f"open({str(trace)!r}, 'w').close()\n"
    (folder / MODULE).mkdir()
    for name in ('__init__', 'registry'):
        (folder / MODULE / f'{name}.py').write_text(code)
    (folder / 'evil_config.py').write_text(f"x = open({str(trace)!r}, 'w').close()\n")
    (folder / 'hubconf.py').write_text(code)
    (folder / 'evil.yaml').write_text(f'!!python/object/apply:builtins.open [{trace}, w]')
    (folder / 'evil.pkl').write_bytes(pickle.dumps(Call(open, str(trace), 'w')))
    return trace


def make_text(attack: str, folder: Path) -> str:
    """Return the text of one attack."""
    return TEXTS[attack].replace('TRACE', str(folder / 'trace')).replace('FOLDER', str(folder))


class HiddenEntries(dict):
    """Loads as an ``OrderedDict`` that seems empty to whoever calls its ``items``."""

    def __reduce__(self):
        return collections.OrderedDict, (), {'items': collections.Counter}, None, iter(self.items())


def write_checkpoint(path: Path, text: object, place: str, **content: object) -> Path:
    """Write a checkpoint with a config in one of the places where frameworks look for it."""
    meta, hub = dict(epoch=0, iter=1), dict(log_scalars={}, runtime_info={}, resumed_keys={})
    if place == 'message_hub':
        hub['runtime_info']['cfg'] = text
    else:
        meta[place] = text
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(meta=meta, message_hub=hub, state_dict={}) | content, path)
    return path
