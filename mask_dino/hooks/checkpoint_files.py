"""Checkpoint files: written so that a crash leaves them whole, and found again to resume a training."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend

from ..checkpoints import CheckpointError, load_checkpoint_safely
from ..checkpoints.training_state import IncompleteError, check_training_state

UNFINISHED = '.unfinished'
"""Suffix of a file that is being written."""

NO_PERMISSION = 'there is no permission to write; change the permissions, or choose another directory with --work-dir'
REMEDIES = {
    errno.ENOSPC: 'the disk is full; free some space, or choose a working directory on another disk with --work-dir',
    errno.EDQUOT: 'your quota of disk space is used up; delete files, or choose another directory with --work-dir',
    errno.EFBIG: 'the file is larger than allowed; raise the limit (ulimit -f), or choose another disk with --work-dir',
    errno.EROFS: 'the disk is read-only; choose a working directory on another disk with --work-dir',
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.ENOTDIR: 'a part of the path is a file, not a directory; rename that file, or choose another --work-dir',
    errno.EEXIST: 'a file of this name is in the way; rename it, or choose another directory with --work-dir',
    errno.EISDIR: 'a directory of this name is in the way; rename it, or choose another directory with --work-dir',
    errno.EIO: 'the disk reports an error; check it, and choose a working directory on another disk with --work-dir',
}


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What the disk refuses; other errors may come from files of the user."""


class StorageError(RuntimeError):
    """A file cannot be written: the message names the file, the reason and the remedy."""


def storage_error(path: str | Path, error: OSError) -> StorageError:
    """Return the error that explains why a file cannot be written.

    Args:
        path: The file that was being written; the error's own file name comes first where it has one.
    """
    file = error.filename or path
    reason = REMEDIES.get(
        error.errno or 0, f'{error}; choose another working directory with --work-dir'
    )
    return StorageError(f'{file} cannot be written: {reason}')


def write_durably(path: str | Path, content: bytes) -> None:
    """Write a file so that its path always holds the old content or the new one, whatever stops the process.

    The content goes to a temporary file in the same folder, is flushed to the disk and then takes the place of the
    old file. A write that fails leaves no temporary file behind; one that is killed leaves a file that ends with
    `UNFINISHED`.

    Raises:
        StorageError: The disk is full, read-only, or in use by something else.
    """
    path = Path(os.path.realpath(path))  # a symbolic link stays, and the file behind it is replaced
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_and_flush(unfinished, content)
        os.replace(unfinished, path)
    except OSError as error:
        error.filename = str(path)
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _write_and_flush(path: Path, content: bytes) -> None:
    with path.open('wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class DurableBackend(LocalBackend):
    """mmengine's files on a local disk, written by `write_durably`; ``backend_args=dict(backend='durable')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            StorageError: The file cannot be written.
        """
        write_durably(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text.

        Raises:
            StorageError: The file cannot be written.
        """
        write_durably(filepath, obj.encode(encoding))


class LateRemoval(DurableBackend):
    """Notes which files are to be removed, until their successors are on the disk."""

    def __init__(self) -> None:
        self.outdated: list[Path] = []

    def remove(self, filepath: str | Path) -> None:
        """Note a file."""
        self.outdated.append(Path(filepath))

    def rmtree(self, dir_path: str | Path) -> None:
        """Note a directory."""
        self.outdated.append(Path(dir_path))

    def remove_outdated(self) -> None:
        """Remove what was noted."""
        for path in self.outdated:
            if path.is_dir():
                super().rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.outdated.clear()


register_backend('durable', DurableBackend, force=True)


class Progress(NamedTuple):
    """When a checkpoint was saved, and how far the training was; later ones compare as greater."""

    time: str  # as mmengine writes it, 20250131_235959
    iteration: int
    path: Path


def checkpoint_folder(config: Config) -> Path:
    """Return the directory in which mmengine's CheckpointHook saves."""
    hook = config.get('default_hooks', {}).get('checkpoint') or {}
    work_dir = Path(config.work_dir)
    out_dir = hook.get('out_dir')
    return Path(out_dir, work_dir.name) if out_dir else work_dir


def find_newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint from which a training can go on, if any, and which files were skipped and why.

    The newest one has the latest time of saving and, if two times are equal, the larger iteration. Checkpoints contain
    both, because the times of files do not survive copying.

    Raises:
        CheckpointError: There are checkpoints, but none can be read.
    """
    problems: dict[Path, Exception] = {}
    readable: list[Progress] = []
    for path in sorted(folder.glob('*.pth')):
        try:
            readable.append(read_progress(path))
        except (CheckpointError, OSError) as error:
            problems[path] = error
    newest = _first_readable(sorted(readable, reverse=True), problems)
    skipped = [_describe_problem(path, error) for path, error in problems.items()]
    is_damaged = any(not isinstance(error, IncompleteError) for error in problems.values())
    if newest is None and is_damaged:
        raise CheckpointError(
            f'no checkpoint in {folder} can be read: {"; ".join(skipped)}. To start from the beginning, remove these '
            'files or choose another directory with --work-dir'
        )
    return newest, skipped


def read_progress(path: Path) -> Progress:
    """Read when a checkpoint was saved; its tensors stay on the disk where the format allows it.

    Raises:
        CheckpointError: The file is damaged.
        IncompleteError: The file holds no state of a training.
    """
    checkpoint = load_lazily(path)
    check_training_state(checkpoint, path)
    meta = checkpoint['meta']
    return Progress(str(meta.get('time', '')), int(meta['iter']), path)


def load_lazily(path: Path) -> dict[str, Any]:
    """Read a checkpoint; its tensors stay on the disk where the format allows it.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(
            path, map_location='cpu', weights_only=True, mmap=True
        )
    except Exception:
        # A damaged file can raise anything. The other reader knows more formats and explains errors.
        return load_checkpoint_safely(path)
    return checkpoint


def _first_readable(candidates: list[Progress], problems: dict[Path, Exception]) -> Path | None:
    """Return the first file that can be read to its end; note the problems of those before it."""
    for candidate in candidates:
        try:
            load_checkpoint_safely(candidate.path)
        except (CheckpointError, OSError) as error:
            problems[candidate.path] = error
        else:
            return candidate.path
    return None


def _describe_problem(path: Path, error: Exception) -> str:
    """Write the file and the first part of a message about it."""
    reason = str(error).removeprefix(f'checkpoint {path} ').partition(';')[0]
    return f'{path} ({reason})'
