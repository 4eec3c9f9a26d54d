"""Print as JSON what is installed and what is lacking.

Runs in the environment's own interpreter, alone: its pip knows how to compare versions.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement


def canonical(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r'[-_.]+', '-', name).lower()


def lack(text: str, installed: dict[str, str]) -> str:
    """What a requirement lacks, or ''."""
    requirement = Requirement(text)
    version = installed.get(canonical(requirement.name))
    if version is None:
        return f'{text} is missing'
    return '' if requirement.specifier.contains(version, prereleases=True) else f'{text} is wanted, here is {version}'


def needs(name: str) -> set[str]:
    """The distributions that an installed one requires here, its extras left out."""
    wanted = [Requirement(text) for text in metadata.requires(name) or []]
    return {canonical(item.name) for item in wanted if not item.marker or item.marker.evaluate({'extra': ''})}


def missing_below(lines: list[str], installed: dict[str, str]) -> list[str]:
    """What is not there of all that the installed ones among `lines` require, directly or not."""
    seen: set[str] = set()
    missing, waiting = set(), {canonical(Requirement(line).name) for line in lines} & installed.keys()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        missing |= {f'{lower}, which {name} needs, is missing' for lower in needs(name) - installed.keys()}
        waiting |= (needs(name) & installed.keys()) - seen
    return sorted(missing)


def probe(groups: dict[str, list[str]]) -> dict[str, object]:
    """What the environment holds, by the names of `plan.Found`; `groups` lists the requirements of each step."""
    installed = {canonical(dist.metadata['Name'] or ''): dist.version for dist in metadata.distributions()}
    unmet = {step: list(filter(None, [lack(line, installed) for line in lines])) for step, lines in groups.items()}
    unmet['packages'] += missing_below(groups['torch'] + groups['packages'], installed)
    spec = importlib.util.find_spec('mask_dino')
    return {
        'python': '{}.{}'.format(*sys.version_info),
        'installed': installed,
        'unmet': unmet,
        'project': str(Path(spec.origin).parents[1]) if spec and spec.origin else '',
    }


if __name__ == '__main__':
    print(json.dumps(probe(json.loads(sys.argv[1]))))
