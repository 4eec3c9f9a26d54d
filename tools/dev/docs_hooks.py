"""What mkdocs does to every page: see ``hooks`` in ``mkdocs.yml``."""

import re
from typing import Any

ROLE = re.compile(r':(?:attr|class|data|func|meth|mod):<code>(~[\w.]+\.)?([\w.]+)</code>')
"""A name in a docstring with its role in Sphinx, which mkdocs would show; only the last part is shown after a tilde."""


def on_page_content(html: str, **_: Any) -> str:
    """Return the page with the names of its docstrings, without their roles."""
    return ROLE.sub(r'<code>\2</code>', html)
