"""Write docs/reference from the code: a page of commands, one of settings, one of Python.

In comes the installed package; out come pages of Markdown. Run it when what they tell of has
changed: tests/test_manual.py fails until then.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tomli_w
from docstring_parser import Docstring, DocstringParam, DocstringStyle, parse, parse_from_object

import oscine
from oscine import steps
from oscine.behaviour.config import LogConfig
from oscine.behaviour.kept import AnalysisConfig
from oscine.cli import app
from oscine.config import OscineConfig, to_mapping, with_preset

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
UNITS = {
    **{"s": "s", "ms": "ms", "minutes": "minutes", "hz": "Hz", "db": "dB", "ppm": "millionths"},
    **{"hop_samples": "samples", "frames": "frames", "bands": "bands", "share": "share"},
}
"""By a name or its last word."""
PRESETS = {
    **dict.fromkeys(("picture", "activity"), ("picture", ("bat", "low", "wide"))),
    **dict.fromkeys(("model", "training"), ("training", ("small", "base"))),
}
"""Of each section that presets set: their kind, and those that are not the default."""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    return {"commands.md": commands(), "settings.md": settings(), "python.md": python()}


def commands() -> str:
    """Return the page of the command line."""
    text = app.generate_docs(heading_level=1)
    text = text[text.index("**Commands**") :]  # without its own title and table of contents
    text = re.sub(r"^(oscine [a-z ]+) -m \S+", r"\1", text, flags=re.MULTILINE)  # how this is run
    return f"""# Commands

`oscine VERB --help` says the same. Every verb takes `--json`, keeps its progress on standard error,
and can be stopped and run again. It ends with 0 (done), 1 (failed: it was meant, and could not be
done) or 2 (wrong use: an argument that cannot be meant, such as a workspace, a file, a column or a
sound type that is not there).

{_plain(text).strip()}
"""


def settings() -> str:
    """Return the page of everything that can be set."""
    default = OscineConfig()
    parts = [
        """# Settings

Those of a workspace are in its `oscine.toml`; `--set section.name=value` changes one, with values
as TOML writes them. Where a preset sets another value than the default, it is named
([which is for whom](../presets.md)). Those of a join lie beside the logs in the workspace
([joining](../joining.md)).
"""
    ]
    for section in fields(OscineConfig):
        kind, names = PRESETS.get(section.name, (None, ()))
        others = {name: with_preset(default, name, kind) for name in names if kind}
        presets = {name: getattr(one, section.name) for name, one in others.items()}
        table = _table(f"{section.name}.", getattr(default, section.name), presets)
        parts.append(f"## {section.name}\n\n{table}")
    parts.append(
        "## A join: analysis.toml\n\n"
        "For `oscine join --set`; kept for all logs of the workspace.\n\n"
        + _table("", AnalysisConfig())
        + "\n"
        + _table("join.", AnalysisConfig().join)
    )
    parts.append(
        "## A log: join.toml\n\n"
        "In the section `[log]`, for `oscine join --config`.\n\n" + _table("", LogConfig())
    )
    return "\n".join(parts)


def python() -> str:
    """Return the page of the public functions and classes, and of what they return."""
    public = [getattr(oscine, name) for name in oscine.__all__ if name != "__version__"]
    functions = [one for one in public if inspect.isfunction(one)]
    classes = [one for one in public if inspect.isclass(one)]
    named: list[Any] = [getattr(steps, name) for name in sorted(steps.__all__)]
    reports = [one for one in named if is_dataclass(one)]
    parts = [
        """# Python

`import oscine` gives the verbs as functions, and a few classes that are useful alone. Paths are
`pathlib.Path`. What the functions return is plain and frozen; what `--json` prints is the same.
""",
        "## Functions\n",
        *(_described(one, f"oscine.{one.__name__}") for one in functions),
        "## Classes\n",
        *(_described(one, f"oscine.{one.__name__}") for one in classes),
        "## What is returned\n",
        *(_described(one, one.__name__) for one in reports),
    ]
    return "\n".join(parts)


def _table(prefix: str, section: Any, presets: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return the settings of a section as a table; `presets` are the same section of each."""
    said = {one.arg_name: one.description or "" for one in _docstring(type(section)).params}
    hints = get_type_hints(type(section))
    default = to_mapping(section)
    lines = ["| setting | default | unit | what |", "| --- | --- | --- | --- |"]
    for one in fields(section):
        if is_dataclass(hints[one.name]):
            continue
        what = [_plain(" ".join(said.get(one.name, "").split()))]
        if get_origin(hints[one.name]) is Literal:
            what.append(f"One of {', '.join(_toml(each) for each in get_args(hints[one.name]))}.")
        set_by = {name: to_mapping(each)[one.name] for name, each in presets.items()}
        differ = [
            f"{name} {_toml(value)}" for name, value in set_by.items() if value != default[one.name]
        ]
        if differ:
            what.append(f"({', '.join(differ)})")
        unit = UNITS.get(one.name, UNITS.get(one.name.rpartition("_")[2], ""))
        name, value = f"`{prefix}{one.name}`", _toml(default[one.name])
        lines.append(f"| {name} | {value} | {unit} | {' '.join(what)} |")
    return _plain(inspect.getdoc(section) or "") + "\n\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return "`" + tomli_w.dumps({"x": value}).removeprefix("x = ").strip() + "`"


def _described(one: Any, name: str) -> str:
    """Return a function or a class as Markdown, with its public methods."""
    parts = [f"### {name}\n"]
    if not is_dataclass(one):
        parts.append(f"```python\n{_signature(one)}\n```\n")
    parts.append(_sections(_docstring(one)))
    if inspect.isclass(one):
        for method, value in vars(one).items():
            inner = getattr(value, "__func__", getattr(value, "fget", value))
            if method.startswith("_") or not inspect.isfunction(inner):
                continue
            parts.append(f"#### {one.__name__}.{method}\n")
            if inner is value or hasattr(value, "__func__"):
                parts.append(f"```python\n{_signature(inner)}\n```\n")
            parts.append(_sections(parse(inspect.getdoc(inner), DocstringStyle.NUMPYDOC)))
    return "\n".join(parts)


def _docstring(one: Any) -> Docstring:
    """Return a parsed docstring; of a class, with what is said of its fields."""
    found = parse_from_object(one, DocstringStyle.NUMPYDOC)
    if is_dataclass(one):
        said = {name for each in found.params for name in each.arg_name.split(", ")}
        found.meta += [
            DocstringParam(["attribute", each.name], None, each.name, str(each.type), None, None)
            for each in fields(one)
            if each.name not in said
        ]
    return found


def _signature(one: Any) -> str:
    """Return a signature as it stands in the source."""
    source = dedent(inspect.getsource(one.__init__ if inspect.isclass(one) else one))
    found = re.search(r"^def (.*?\)(?: -> [^\n]*?)?):$", source, re.MULTILINE | re.DOTALL)
    assert found is not None, source
    text = found[1]
    return text.replace("__init__", one.__name__).removesuffix(" -> None")


def _sections(docstring: Docstring) -> str:
    """Return a docstring as Markdown."""
    parts = [docstring.short_description or "", docstring.long_description or ""]
    titles = {"param": "Takes", "attribute": "Has"}
    for kind, title in titles.items():
        params = [one for one in docstring.params if one.args[0] == kind]
        parts.append(_listed(title, ((one.arg_name, one) for one in params)))
    parts.append(_listed("Returns", ((one.return_name, one) for one in docstring.many_returns)))
    parts.append(_listed("Raises", ((one.type_name, one) for one in docstring.raises)))
    return "\n\n".join(_plain(part) for part in parts if part) + "\n"


def _listed(title: str, items: Iterator[tuple[str | None, Any]]) -> str:
    lines = []
    for name, one in items:
        shown = f"`{name or one.type_name}`"
        if name and one.type_name not in (name, None):
            shown += f" ({_plain(one.type_name)})"
        what = " ".join((one.description or "").split())
        lines.append(f"- {shown}" + (f": {what}" if what else ""))
    return f"**{title}**\n\n" + "\n".join(lines) if lines else ""


def _plain(text: str) -> str:
    """Return text with Markdown in place of the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
