"""The environment's folder: what is recorded there, and the commands that look at it and change it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .plan import Found, Wanted, requirements
from .shell import fail, run

# What pip says before it changes anything, and after the last change.
CHANGING, CHANGED = 'Installing collected packages', 'Successfully installed'
# The imports that have to work, each with the step that mends it. The compiled ops are run, not only loaded.
CHECKS = (
    ('opencv', 'import cv2'),
    ('venv', 'import torch, mmengine'),
    (
        'mmcv',
        """
from mmcv import _ext
for device in ['cpu'] + ['cuda'] * torch.cuda.is_available():
    box = torch.ones(1, 4, device=device)
    assert _ext.nms(box, box[:, 0], iou_threshold=0.5, offset=0).tolist() == [0]
""",
    ),
)


class Venv:
    """A virtual environment that may be missing, half-made or of another kind than wanted."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self.lock = path, lock
        self.python, self.log, self.record = path / 'bin' / 'python', path / 'env.log', path / 'mask_dino.json'
        # torch and stack hold the last choice; mmcv_torch and unfinished are explained at `Found`.
        self.state: dict[str, str] = json.loads(self.record.read_text()) if self.record.exists() else {}

    def note(self, **changes: str) -> None:
        """Record changes, so that a kill at any moment leaves the old record or the new one."""
        self.state.update(changes)
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.record.with_suffix('.tmp')
        draft.write_text(json.dumps(self.state, indent=2))
        draft.replace(self.record)

    def look(self, wanted: Wanted) -> Found:
        """What the environment holds; imports are tried only where everything below them is installed."""
        found = Found(self.path.exists(), self.unfinished(), mmcv_torch=self.state.get('mmcv_torch', ''))
        if not (self.path / 'pyvenv.cfg').exists() or not self.python.exists():
            return found
        answer = self.ask(str(Path(__file__).with_name('probe.py')), json.dumps(requirements(wanted)))
        if answer.returncode and self.ask('-c', 'from pip._vendor.packaging import requirements').returncode:
            return found
        if answer.returncode:
            fail(f'cannot look into {self.path}: {answer.stderr.strip()}')
        found = found._replace(**json.loads(answer.stdout))
        return found if found.unmet['torch'] or found.unmet['packages'] else found._replace(failure=self.failure())

    def unfinished(self) -> str:
        """What an earlier run was doing when it was stopped, if that left the environment half-changed."""
        doing = self.state.get('unfinished', '')
        if doing.startswith('pip'):
            text = self.log.read_text(errors='replace')
            return doing if CHANGING in text and CHANGED not in text else ''
        return doing

    def failure(self) -> tuple[str, str] | None:
        """The first check that fails: the step that mends it, and the error."""
        answer = self.ask('-c', '\n'.join(f'print({step!r}, flush=True)\n{code}' for step, code in CHECKS))
        if not answer.returncode:
            return None
        errors = answer.stderr.strip().splitlines() or [f'the interpreter died with status {answer.returncode}']
        return answer.stdout.split()[-1], errors[-1]

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the environment's interpreter, blind to everything outside it, and take what it prints."""
        return subprocess.run([self.python, '-I', *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def make(self) -> None:
        """Make the environment anew; its record stays meanwhile, so that a kill in between is noticed."""
        if self.path.exists() and not any(map(Path.exists, (self.path / 'pyvenv.cfg', self.record))):
            fail(f'{self.path} is no virtual environment and is left alone: remove it, or choose another with VENV=...')
        self.note(unfinished='it was made', mmcv_torch='')
        for entry in set(self.path.iterdir()) - {self.record}:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        # Not sys.executable, which may be the interpreter that was just removed.
        base = sys._base_executable  # type: ignore[attr-defined]
        run(self.log, [base, '-m', 'venv', str(self.path)], self.lock)
        self.note(unfinished='')

    def install(self, *arguments: str) -> None:
        """Run pip install."""
        self.log.write_bytes(b'')
        self.note(unfinished='pip was at work')
        run(self.log, [str(self.python), '-m', 'pip', 'install', *arguments], self.lock)
        self.note(unfinished='')
