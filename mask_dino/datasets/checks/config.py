"""Mistakes in a config that are visible before anything is built: arguments, folders, loops and samplers."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from ...checkpoints.config_text import find_unreadable
from ...checkpoints.trusted_names import UntrustedError, check_settings
from ...messages import Finding, error, first_few, is_url, plural, warning
from .components import (
    accepted_arguments,
    dataset_problems,
    default_argument,
    find_class,
    loop_problems,
    pipeline_problems,
    sampler_problems,
)

OLD_SECTIONS = dict(
    data='train_dataloader, val_dataloader and test_dataloader',
    runner='train_cfg',
    lr_config='param_scheduler',
    optimizer_config='optim_wrapper',
    checkpoint_config='default_hooks.checkpoint',
    log_config='default_hooks.logger',
    evaluation='val_evaluator and train_cfg.val_interval',
)
"""Sections of the configs of mmdet 2.x and mmseg 0.x, and what replaces them."""
OLD_ARGUMENTS = dict(
    img_prefix='data_prefix=dict(img=...)',
    seg_prefix='data_prefix=dict(seg=...)',
    img_dir='data_prefix=dict(img_path=...)',
    ann_dir='data_prefix=dict(seg_map_path=...)',
    split='ann_file=...',
    classes='metainfo=dict(classes=...)',
    palette='metainfo=dict(palette=...)',
    filter_empty_gt='filter_cfg=dict(filter_empty_gt=...)',
    samples_per_gpu='batch_size=...',
    workers_per_gpu='num_workers=...',
    img_scale='scale=...',
    flip_ratio='prob=...',
    multiscale_mode='RandomResize or RandomChoiceResize',
)
"""Their arguments of data sets, loaders and transforms."""
OLD_TRANSFORMS = dict(
    DefaultFormatBundle='PackDetInputs or PackSegInputs',
    Collect='PackDetInputs or PackSegInputs',
    ImageToTensor='PackDetInputs or PackSegInputs',
    MultiScaleFlipAug='Resize, and TestTimeAug in tta_pipeline',
)
WORKER_OPTIONS: dict[str, Any] = dict(
    persistent_workers=False, prefetch_factor=None, timeout=0, multiprocessing_context=None
)
"""Arguments of torch's DataLoader that only loader processes use, and the values that turn them off."""
FOLDERS = dict(img='the folder of the images', img_path='the folder of the images')


def config_problems(config: Mapping, loaders: Iterable[str]) -> list[str]:
    """Say what is wrong with the data loaders of a config, the loops that use them, and sections of old versions.

    Args:
        loaders: Names of the loaders. Those in the config are checked.
    """
    present = [loader for loader in loaders if config.get(loader)]
    scope = config.get('default_scope')
    problems: list[str] = []
    if not any('_dataloader' in name for name in config):
        problems += old_sections(config)
    for loader in present:
        loader_problems = [*_loader_problems(config[loader], scope)]
        for dataset in _leaf_configs(config[loader]):
            loader_problems += pipeline_problems(loader, dataset, config)
        problems += [f'{loader}: {problem}' for problem in loader_problems]
    return problems + loop_problems(config, present)


def old_sections(config: Mapping) -> list[str]:
    """Say which sections of a config only old versions read; some configs of today still have one of them."""
    return [
        f'{section} is a section of mmdet 2.x and mmseg 0.x, and has no effect. Write {new}.'
        for section, new in OLD_SECTIONS.items()
        if isinstance(config.get(section), Mapping)
    ]


def check_resumable(config: Mapping) -> list[Finding]:
    """Report what would make the checkpoints of a training be refused: they contain the text of its config."""
    settings = config.to_dict() if isinstance(config, Config) else dict(config)
    if unreadable := list(find_unreadable(settings)):
        listed = first_few((f'{place}={value!r}' for place, value in unreadable), 3)
        count = plural(len(unreadable), 'setting')
        message = f'{count} that the text of a config cannot express: {listed}. '
        remedy = 'Write text or numbers instead: checkpoints contain this text, and no training could be resumed.'
        return [error(message + remedy)]
    try:
        check_settings(settings)
    except UntrustedError as reason:
        problem = 'checkpoints of this training will be refused when it is resumed'
        return [warning(f'{problem}: the config {reason}')]
    return []


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Yield the data sets, or their configs, inside wrappers such as ConcatDataset and RepeatDataset."""
    fields = dataset if isinstance(dataset, Mapping) else getattr(dataset, '__dict__', {})
    inner = fields.get('datasets') or [fields.get('dataset')]
    if inner == [None]:
        yield dataset
        return
    for part in inner:
        yield from leaf_datasets(part)


def _leaf_configs(loader: Mapping) -> list[Mapping]:
    """Return the configs of the data sets of a loader; data sets can also be objects."""
    leaves = leaf_datasets(loader.get('dataset'))
    return [leaf for leaf in leaves if isinstance(leaf, Mapping)]


def read_metainfo(dataset: Any) -> Mapping[str, Any]:
    """Return the meta information of a data set; of parts that differ in it, the first part's."""
    metainfo = getattr(dataset, 'metainfo', {})  # data sets of plain torch have none
    return metainfo[0] if isinstance(metainfo, list) else metainfo


def _worker_problems(loader: Mapping) -> Iterator[str]:
    """Yield the settings that torch's DataLoader refuses without loader processes."""
    if loader.get('num_workers', 0):
        return
    needless = [name for name, off in WORKER_OPTIONS.items() if loader.get(name, off) != off]
    if needless:
        remedy = ', '.join(f'{name}={WORKER_OPTIONS[name]!r}' for name in needless)
        yield f'num_workers is 0, and {first_few(needless)} needs loader processes. Write {remedy}, or num_workers=1.'


def _loader_problems(loader: Mapping, scope: str | None) -> Iterator[str]:
    yield from _worker_problems(loader)
    batch_size = loader.get('batch_size', 1)
    if not isinstance(batch_size, int) or batch_size < 1:
        yield f'batch_size is {batch_size!r}. Write a whole number of images, 1 or more.'
    num_workers = loader.get('num_workers', 0)
    if not isinstance(num_workers, int) or num_workers < 0:
        yield f'num_workers is {num_workers!r}. Write a whole number of processes, 0 or more.'
    for name in ('samples_per_gpu', 'workers_per_gpu'):
        if name in loader:
            yield f'{name} is an argument of old versions. Write {OLD_ARGUMENTS[name]}.'
    yield from sampler_problems(loader, scope)
    for dataset in _leaf_configs(loader):
        kind = find_class(dataset, DATASETS, scope)
        problems = argument_problems('dataset', dataset, kind)
        problems = [*problems, *prefix_problems(dataset, kind)]
        yield from problems
        if not problems and (problem := folder_problem(dataset, kind)):
            yield problem
        outdated = list(_transform_problems(dataset.get('pipeline') or (), scope))
        yield from outdated or dataset_problems(dataset, scope)


def _transform_problems(pipeline: Iterable[Any], scope: str | None) -> Iterator[str]:
    for transform in pipeline:
        if not isinstance(transform, Mapping):
            continue
        kind = find_class(transform, TRANSFORMS, scope)
        name = transform.get('type')
        if kind is None and name in OLD_TRANSFORMS:
            yield f'{name} of the pipeline is a transform of old versions. Write {OLD_TRANSFORMS[name]}.'
        yield from argument_problems(f'{name} of the pipeline', transform, kind)


def argument_problems(place: str, config: Mapping, kind: Any) -> list[str]:
    """Say which arguments of a config its class does not have; a class that takes any argument is not checked."""
    accepted = accepted_arguments(kind)
    if accepted is None:
        return []
    accepted = accepted | {'type', '_scope_'}
    unknown = [name for name in config if name not in accepted]
    if not unknown:
        return []
    outdated = [name for name in unknown if name in OLD_ARGUMENTS]
    remedy = 'Correct the name, or remove it'
    if outdated:
        advice = (f'{OLD_ARGUMENTS[name]} instead of {name}' for name in outdated)
        remedy = f'Write {first_few(advice)}'
    problem = f'{place} has arguments that {kind.__name__} does not take: {first_few(unknown)}'
    return [f'{problem}. {remedy}.']


def prefix_problems(dataset: Mapping, kind: Any) -> list[str]:
    """Say which keys data_prefix lacks or should not have."""
    names = {parent.__name__ for parent in getattr(kind, '__mro__', ())}
    if 'CocoDataset' in names:
        needed, known = 'img', {'img', 'seg', 'ann', 'img_path'}
    elif 'BaseSegDataset' in names:
        needed, known = 'img_path', {'img_path', 'seg_map_path', 'depth_map_path'}
    else:
        return []
    prefix = dataset.get('data_prefix', default_argument(kind, 'data_prefix'))
    remedy = f'Write data_prefix=dict({needed}=...).'
    if not isinstance(prefix, Mapping):
        return [f'data_prefix is {prefix!r}. {remedy}']
    name = kind.__name__
    problems = []
    unknown = prefix.keys() - known
    if unknown:
        listed = first_few(sorted(unknown))
        problems.append(f'data_prefix has the key {listed}, which {name} does not read.')
    if needed not in prefix:
        folder = FOLDERS[needed]
        problems.append(f'data_prefix of {name} lacks the key {needed}, {folder}.')
    return [f'{problem} {remedy}' for problem in problems]


def folder_problem(dataset: Mapping, kind: Any) -> str | None:
    """Say why the data set of a config finds no image; data sets that read the names from a file are not checked."""
    suffix = dataset.get('img_suffix') or default_argument(kind, 'img_suffix')
    prefix = dataset.get('data_prefix') or {}
    folder = os.path.join(dataset.get('data_root') or '', prefix.get('img_path') or '')
    if suffix is None or dataset.get('ann_file') or is_url(folder):
        return None
    if not os.path.isdir(folder):
        return f'{folder}: the folder of images does not exist. Correct data_root or data_prefix of the dataset'
    names = [name for _, _, files in os.walk(folder) for name in files]
    if any(name.endswith(suffix) for name in names):
        return None
    others = sorted({os.path.splitext(name)[1] for name in names})
    remedy = 'it is empty'
    if others:
        remedy = f'names end in {", ".join(others)}: set img_suffix of the dataset'
    return f'{folder} has no image whose name ends in {suffix}; {remedy}'
