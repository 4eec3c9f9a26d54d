"""Decide what to do: given what is wanted and what was found, the next step."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
TORCH = 'torch==2.13.0'
STACK = 'openmmlab'
MMCV = {'openmmlab': 'mmcv==2.1.0', 'onedl': 'onedl-mmcv==2.3.6'}
# Distributions that hold the same modules as a stack's own.
RIVALS = {
    'openmmlab': {'mmcv-lite', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmengine', 'onedl-mmsegmentation'},
    'onedl': {'mmcv-lite', 'mmcv', 'mmdet', 'mmengine', 'mmsegmentation'},
}
# The steps that put something right, each after those that it depends on.
ORDER = ('torch', 'packages', 'opencv', 'venv', 'mmcv', 'project')


class Wanted(NamedTuple):
    """What was asked for."""

    python: str  # 'major.minor', or '' for whatever the environment has
    torch: str  # a requirement; options of pip may follow it
    stack: str


class Found(NamedTuple):
    """What the environment holds."""

    exists: bool = True
    unfinished: str = ''  # what an earlier run was doing when it was stopped
    python: str = ''  # 'major.minor', or '' where the interpreter does not run
    installed: Mapping[str, str] = MappingProxyType({})  # distribution -> version
    unmet: Mapping[str, list[str]] = MappingProxyType({})  # step -> what its packages lack
    mmcv_torch: str = ''  # the torch that mmcv was compiled for, or '' where that is not known
    project: str = ''  # the folder that mask_dino is imported from
    failure: tuple[str, str] | None = None  # the first check that fails: the step that mends it, the error


class Step(NamedTuple):
    """One thing to put right, and why."""

    name: str
    reason: str


def next_step(wanted: Wanted, found: Found) -> Step | None:
    """The first thing to put right, or None when all is well."""
    if reason := reason_to_rebuild(wanted, found):
        return Step('venv', reason)
    reasons = {name: shorten(lacks) for name, lacks in found.unmet.items() if lacks}
    torch = found.installed.get('torch', '')
    if found.mmcv_torch not in ('', torch):
        reasons.setdefault('mmcv', f'it was compiled for torch {found.mmcv_torch}, here is torch {torch or "none"}')
    if found.project != str(ROOT):
        reasons.setdefault('project', f'mask_dino is imported from {found.project or "nowhere"}')
    if found.failure:
        reasons.setdefault(*found.failure)
    return next((Step(name, reasons[name]) for name in ORDER if name in reasons), None)


def shorten(lacks: list[str]) -> str:
    """A list in words, without its tail where that is long."""
    return '; '.join(lacks[:3]) + (f'; and {len(lacks) - 3} more' if len(lacks) > 3 else '')


def reason_to_rebuild(wanted: Wanted, found: Found) -> str:
    """Why the environment has to be made anew, or '' when it can be kept."""
    if not found.exists:
        return 'there is none yet'
    if found.unfinished:
        return f'an earlier run was stopped while {found.unfinished}'
    if not found.python:
        return 'its interpreter is gone or cannot run pip'
    if wanted.python not in ('', found.python):
        return f'it has Python {found.python}'
    rivals = ', '.join(sorted(RIVALS[wanted.stack] & found.installed.keys()))
    return f'it holds {rivals}, which cannot share it with the {wanted.stack} stack' if rivals else ''


def requirements(wanted: Wanted) -> dict[str, list[str]]:
    """What each step has to provide."""
    version = re.findall(r"__version__ = '(.+)'", (ROOT / 'mask_dino' / '__init__.py').read_text())[0]
    return {
        'torch': list(takewhile(lambda word: not word.startswith('-'), shlex.split(wanted.torch))),
        'packages': [line for file in requirement_files(wanted) for line in requirement_lines(file)],
        'mmcv': [MMCV[wanted.stack]],
        'project': [f'mask_dino=={version}'],
    }


def requirement_files(wanted: Wanted) -> list[Path]:
    """The files that step `packages` installs."""
    return [ROOT / 'requirements.txt', *(REQUIREMENTS / f'{name}.txt' for name in (wanted.stack, 'build', 'dev'))]


def requirement_lines(file: Path) -> list[str]:
    """The requirements in a file, without its comments."""
    lines = (line.split('#')[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]
