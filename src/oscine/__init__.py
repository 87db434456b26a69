"""Self-supervised audio learning for bioacoustics: from recordings to a map of their sounds.

In comes a name, out comes what a notebook needs: the verbs of the command line as functions, and
the few classes that are useful alone. Each is imported when it is first asked for, so that
``import oscine`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oscine.embedding.readout import Readout
    from oscine.model.autoencoder import Encoder
    from oscine.steps import (
        cluster,
        embed,
        evaluate,
        explore,
        export,
        import_labels,
        index,
        individuals,
        join,
        learn,
        plan,
        pretrain,
        report,
        same,
        similar,
        status,
        which,
    )
    from oscine.workspace.folder import Workspace

__version__ = "0.1.0"

__all__ = [
    "Encoder",
    "Readout",
    "Workspace",
    "__version__",
    "cluster",
    "embed",
    "evaluate",
    "explore",
    "export",
    "import_labels",
    "index",
    "individuals",
    "join",
    "learn",
    "plan",
    "pretrain",
    "report",
    "same",
    "similar",
    "status",
    "which",
]

_HOMES = {
    "Encoder": "oscine.model.autoencoder",
    "Readout": "oscine.embedding.readout",
    "Workspace": "oscine.workspace.folder",
}
"""Where the classes live; the functions are those of the steps."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "oscine.steps")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
