"""What pyproject.toml cannot say: a wheel carries configs, tools and metafiles in ``mask_dino/.mim`` for mim."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ('model-index.yml', 'projects/mask_dino/metafile.yml', 'configs', 'tools')
# These tools only work in a clone.
LEFT_OUT = shutil.ignore_patterns('__pycache__', 'env.py', 'dev', 'make_demo.py', 'demo_page.py')


class BuildWithConfigs(build_py):
    """Build the package, then put beside its modules what it carries."""

    def run(self) -> None:
        """Copy into the build folder; an editable install has the clone itself."""
        super().run()
        if not self.editable_mode:
            for name in CARRIED:
                carry(Path(name), Path(self.build_lib) / 'mask_dino' / '.mim' / name)


def carry(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what an earlier build left of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copyfile(source, target)


setup(cmdclass=dict(build_py=BuildWithConfigs))
