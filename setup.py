"""What pyproject.toml cannot say: what a wheel carries for mim, and where the links of README lead on PyPI."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

CARRIED = ('model-index.yml', 'projects/mask_dino/metafile.yml', 'configs', 'tools')
# These tools only work in a clone.
LEFT_OUT = shutil.ignore_patterns('__pycache__', 'env.py', 'dev', 'make_demo.py', 'demo_page.py')
RELATIVE_LINK = re.compile(r'(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)')


class BuildWithConfigs(build_py):
    """Build the package, then put beside its modules what it carries."""

    def run(self) -> None:
        """Copy into the build folder; an editable install has the clone itself."""
        super().run()
        if not self.editable_mode:
            for name in CARRIED:
                carry(Path(name), Path(self.build_lib) / 'mask_dino' / '.mim' / name)


class MetadataWithAbsoluteLinks(egg_info):
    """Write the metadata. PyPI shows README without the files that its links lead to."""

    def run(self) -> None:
        """Lead the links to the repository, if [project.urls] in pyproject.toml has its address."""
        metadata = self.distribution.metadata
        repository = (metadata.project_urls or {}).get('Repository')
        if repository:
            metadata.long_description = make_absolute(metadata.long_description, repository)
        super().run()


def make_absolute(text: str, repository: str) -> str:
    """Return Markdown whose relative links lead to the files, and pictures to the raw files, of a repository."""

    def replace(link: re.Match[str]) -> str:
        mark, label, target = link.groups()
        kind = 'raw' if mark else 'blob'
        return f'{mark}{label}({repository}/{kind}/HEAD/{target})'

    return RELATIVE_LINK.sub(replace, text)


def carry(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what an earlier build left of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copyfile(source, target)


setup(cmdclass=dict(build_py=BuildWithConfigs, egg_info=MetadataWithAbsoluteLinks))
