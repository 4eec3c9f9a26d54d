"""Makes the data set in a folder, wholly or not at all."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from mask_dino.datasets.shapes.world import World
from mask_dino.datasets.shapes.write import SPLITS, scenes, write_split

STAMP = 'shapes.json'
REVISION = 2  # of the generator: raise it with every change of what is drawn or written


def make(world: World, folder: Path) -> bool:
    """Write the data set into ``folder``; nothing half-written is left behind when it fails.

    Returns:
        Whether anything was done: False where the same data set is there already.

    Raises:
        FileExistsError: ``folder`` holds something else.
        OSError: It cannot be written.
    """
    stamp = asdict(world) | {'revision': REVISION}
    if _holds(folder, stamp):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f'.{folder.name}.{os.getpid()}.partial')
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
    try:
        for split in SPLITS:
            write_split(partial, split, scenes(world, split))
        (partial / STAMP).write_text(json.dumps(stamp, indent=2) + '\n')
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _holds(folder: Path, stamp: dict[str, int]) -> bool:
    """Whether the folder has this data set; raises FileExistsError where it has something else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        found = None
    if found == stamp:
        return True
    if not isinstance(found, dict):
        raise FileExistsError(f'{folder}: exists and was not made by this tool; remove it or choose another folder')
    changed = [f'{key} {found.get(key)} instead of {value}' for key, value in stamp.items() if found.get(key) != value]
    raise FileExistsError(f'{folder}: made with {", ".join(changed)}; remove it (rm -r {folder}) or choose another one')
