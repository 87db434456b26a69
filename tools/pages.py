"""What the manual has its readers type.

In come pages of Markdown; out come their blocks of code and the commands in them. Called by the
tests and by what takes the pictures.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
_BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"(.+?)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return language, title and text of each block of code on a page."""
    found = []
    for indent, language, title, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        lines = (line.removeprefix(indent) for line in text.splitlines(keepends=True))
        found.append((language, title, "".join(lines)))
    return found


def commands(page: Path) -> list[str]:
    """Return the lines of a page that call Oscine, with what stands before its name."""
    return [
        line.strip()
        for language, _, text in blocks(page)
        for line in text.replace("\\\n", " ").splitlines()
        if language == "sh" and re.search(r"(^|\s)oscine [a-z]", line)
    ]


def typed(page: Path) -> list[str]:
    """Return those of them that a reader can type who has nothing of his own."""
    return [one for one in commands(page) if one.startswith("oscine ") and "~/" not in one]


def words(command: str) -> list[str]:
    """Return the arguments that a command gives to Oscine."""
    return shlex.split(re.sub(r"^.*?\boscine (?=[a-z])", "", command), comments=True)
