"""Changes to third-party packages that importing Mask DINO makes. Each is one function, called by the two shells.

- :func:`register_config_prefix`, called by ``mask_dino.det``, ``mask_dino.seg`` and the command line

  - what: adds ``mask_dino`` to mmengine's ``MODULE2PACKAGE`` and replaces its private ``Config._get_cfg_path``.
  - why: a config can then start from one of ours, ``_base_ = 'mask_dino::maskdino/NAME.py'``, also in a clone. The
    entry in ``MODULE2PACKAGE`` is not enough: mmengine would need an installed wheel, and would look up all parts of
    the base in a scope ``mask_dino``. One scope cannot be the child of both MMDetection and MMSegmentation.
  - needed by: mmengine 0.10.7, the last release. Where a later one has no ``_get_cfg_path``, nothing is replaced.
  - can go: when mmengine finds the configs of any package and leaves them the scope of the config that names them.

- :func:`complete_inferencer`, called by ``mask_dino.det``

  - what: sets ``VOID`` and ``id2rgb`` in ``mmdet.apis.det_inferencer`` where panopticapi is not installed.
  - why: ``DetInferencer`` refuses panoptic results without panopticapi, which is not on PyPI.
  - needed by: mmdet 3.3.0, the last release.
  - can go: when mmdet has both without panopticapi.

- :func:`repair_det_inference`, called by ``mask_dino.det``

  - what: wraps three methods of ``DetInferencer`` and the function that gives ``inference_detector`` its pipeline.
  - why: ``DetInferencer`` skips files with an upper-case suffix, writes one file for two images of one name, and fails
    for grey arrays and for the files of arrays. ``inference_detector`` changes the config of the model for an array, so
    that a path fails after it.
  - needed by: mmdet 3.3.0, the last release.
  - can go: when ``DetInferencer`` and ``inference_detector`` do this themselves.

- :func:`repair_seg_inference`, called by ``mask_dino.seg``

  - what: wraps two methods of ``MMSegInferencer`` and the function that prepares the images of ``inference_model``.
  - why: as for mmdet; ``MMSegInferencer`` also takes the other files of a folder for images.
  - needed by: mmsegmentation 1.2.2, the last release.
  - can go: when ``MMSegInferencer`` and ``inference_model`` do this themselves.

- :func:`mask_dino.checkpoints.register_loaders`, called by ``mask_dino.checkpoints``, which both shells import

  - what: registers loaders for paths and URLs with mmengine's ``CheckpointLoader``, and adds the types of mmengine's
    training states to the allow-list of ``torch.load``. Both are public interfaces, but act on the whole process.
  - why: mmengine leaves it to torch whether a file may run code, and torch before 2.6 allows that. Later versions
    refuse mmengine's own training states and the pickles of Detectron2.
  - needed by: mmengine 0.10.7. torch has the allow-list since 2.4.
  - can go: when mmengine sets ``weights_only`` and allows its own types, or, for the loaders, with torch 2.6 as the
    oldest supported version and without the pickles of Detectron2.

``tests/test_compat.py`` fails when one of them can go.

Both shells also take over four registered names:

- ``CheckpointHook`` is :class:`mask_dino.hooks.DurableCheckpointHook`, because mmengine 0.10.7 deletes the old
  checkpoint while the new one can still be lost. It can go when mmengine writes to a temporary file first.
- ``EarlyStoppingHook`` is :class:`mask_dino.hooks.ResumableEarlyStoppingHook`, because mmengine 0.10.7 starts to count
  from zero in a resumed training. It can go when mmengine saves the count.
- ``LoggerHook`` is :class:`mask_dino.hooks.OneFileLoggerHook`, because all processes of a test write the same file of
  figures in mmengine 0.10.7. It can go when only the first one does.
- ``LoadImageFromNDArray`` also reads files, because the inference of mmdet 3.3.0 and mmsegmentation 1.2.2 fails for
  lists of arrays and paths. It can go when they choose a loader for each image.
"""

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import MODULE2PACKAGE

NAME = 'mask_dino'
PREFIX = f'{NAME}::'


def register_config_prefix() -> None:
    """Teach mmengine the prefix ``mask_dino::`` in names of configs; a second call changes nothing."""
    if NAME in MODULE2PACKAGE:
        return
    MODULE2PACKAGE[NAME] = NAME
    if not hasattr(Config, '_get_cfg_path'):
        return
    get_path_of_others = Config._get_cfg_path

    def get_path_and_scope(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return resolve_config(cfg_path), None
        path_and_scope: tuple[str, str | None] = get_path_of_others(cfg_path, filename)
        return path_and_scope

    Config._get_cfg_path = staticmethod(get_path_and_scope)


def complete_inferencer() -> None:
    """Supply ``VOID``, the id of pixels without segment, and ``id2rgb`` where panopticapi is not installed."""
    from mmdet.apis import det_inferencer

    from .datasets.panoptic_png import id2rgb

    if getattr(det_inferencer, 'VOID', 0) is None:
        det_inferencer.VOID = 0
        det_inferencer.id2rgb = id2rgb


def repair_det_inference() -> None:
    """Let mmdet's inference take every folder of images, equal names, grey arrays, and arrays before paths."""
    from mmdet.apis import DetInferencer, inference

    from .inferencers import describe_under_unique_names, draw_under_unique_names, inputs_to_list

    if DetInferencer._inputs_to_list is inputs_to_list:
        return
    DetInferencer._inputs_to_list = inputs_to_list
    DetInferencer.visualize = draw_under_unique_names(DetInferencer.visualize)
    DetInferencer.pred2dict = describe_under_unique_names(DetInferencer.pred2dict)
    get_pipeline = inference.get_test_pipeline_cfg

    def get_own_pipeline(cfg: Config) -> list[ConfigDict]:
        # inference_detector writes into the pipeline that it gets.
        pipeline: list[ConfigDict] = copy.deepcopy(get_pipeline(cfg))
        load_arrays_and_files(pipeline, 'mmdet.LoadImageFromNDArray')
        pipeline.insert(1, ConfigDict(type='mmdet.ToThreeChannels'))
        return pipeline

    inference.get_test_pipeline_cfg = get_own_pipeline


def load_arrays_and_files(pipeline: list[ConfigDict], loader: str) -> None:
    """Let a test pipeline, in place, start with a loader that takes arrays as well as files."""
    if pipeline[0].type.rpartition('.')[2] == 'LoadImageFromFile':
        pipeline[0].type = loader


def repair_seg_inference(inferencer: Any, inference: Any) -> None:
    """Let mmseg's inference take folders with other files, equal names, grey arrays, and arrays before paths.

    Args:
        inferencer: The class ``MMSegInferencer``. MMDetection's shell also imports this module, and never mmseg.
        inference: The module ``mmseg.apis.inference``.
    """
    from mmengine.model import BaseModel

    from .inferencers import draw_under_unique_names, inputs_to_list, list_images

    if inferencer._inputs_to_list is inputs_to_list:
        return
    inferencer._inputs_to_list = inputs_to_list
    inferencer.visualize = draw_under_unique_names(inferencer.visualize)
    prepare = inference._preprare_data

    def prepare_data(images: Any, model: BaseModel) -> tuple[dict, bool]:
        # mmseg writes into the pipeline of the model's config.
        pipeline = copy.deepcopy(model.cfg.test_pipeline)
        load_arrays_and_files(model.cfg.test_pipeline, 'LoadImageFromNDArray')
        try:
            data, _ = prepare(list_images(images), model)
        finally:
            model.cfg.test_pipeline = pipeline
        return data, isinstance(images, (list, tuple))

    inference._preprare_data = prepare_data


def resolve_config(name: str) -> str:
    """Return the path of a config that is named with the prefix ``mask_dino::``, and any other path as it is.

    Raises:
        FileNotFoundError: There is no config of this name.
    """
    if not name.startswith(PREFIX):
        return name
    relative = name.removeprefix(PREFIX).removesuffix('.py')
    folder = find_root() / 'configs'
    path = folder / f'{relative}.py'
    if not path.is_file():
        raise FileNotFoundError(f'{name}: there is no {path}; for the names, list {folder}')
    return str(path)


def find_root() -> Path:
    """Return the folder of ``configs`` and ``tools``: ``.mim`` in an installed package, or the clone."""
    package = Path(__file__).resolve().parent
    installed = package / '.mim'
    return installed if installed.is_dir() else package.parent
