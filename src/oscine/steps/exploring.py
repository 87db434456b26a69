"""The atlas of a workspace, in the browser: `explore`.

In comes a workspace; out comes a server that shows it, until it is stopped.
"""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname

from oscine.config import WrongArgument
from oscine.workspace.folder import Workspace

LOOPBACK, PORT = "127.0.0.1", 8137
MOST_PORTS = 20
"""Ports that are tried where the first is used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExploreReport:
    """Where an atlas is served."""

    workspace: str
    address: str
    host: str
    port: int
    needs_token: bool
    notes: list[str]


def explore(
    folder: Path,
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    token: str | None = None,
    is_shown: bool = True,
    tell: Callable[[ExploreReport], None] | None = None,
) -> None:
    """Serve the atlas of a workspace until it is stopped (Ctrl-C).

    Parameters
    ----------
    folder : Path
        Of the workspace. It is only read, but for what people do to sound types.
    host : str
        The address of this computer that is listened on; any but its own needs a token.
    port : int, optional
        By default 8137, or the next that is free.
    token : str, optional
        What visitors must type once, or ``@file`` for what a file holds; at least 16 characters.
    is_shown : bool
        Open a browser.
    tell : callable, optional
        Told where the atlas is once it is there.

    Raises
    ------
    FileNotFoundError
        There is no workspace.
    WrongArgument
        The port is used, or the address needs a token.
    ValueError
        The workspace holds no events yet, or a file of it is missing or damaged.
    """
    from oscine.atlas.explorer.access import Access
    from oscine.atlas.explorer.app import create_app
    from oscine.atlas.explorer.serving import listening, serve
    from oscine.steps.answering import WorkspaceSource

    said = _read_token(token)
    if said is None and not is_loopback(host):
        raise WrongArgument(
            f"--host {host} lets other computers ask: give a --token that they must know"
        )
    source = WorkspaceSource(Workspace(folder))
    try:
        with listening(host, port, PORT, MOST_PORTS) as (socket, at):
            is_open = said is not None
            access = Access(token=said) if is_open else Access.of_this_computer(at, host)
            app = create_app(source, access)
            is_anywhere = host in ("0.0.0.0", "::")
            address = _address(gethostname() if is_anywhere else host, at)
            notes = []
            if port is None and at != PORT:
                notes.append(f"port {PORT} is used: this is the next that is free")
            if not is_loopback(host):
                notes.append("what is asked and answered can be read on the way: see the docs")
            if tell is not None:
                tell(
                    ExploreReport(
                        workspace=str(folder),
                        address=address,
                        host=host,
                        port=at,
                        needs_token=is_open,
                        notes=notes,
                    )
                )
            # Meanwhile the socket keeps whoever knocks.
            threading.Thread(target=source.warm, daemon=True).start()
            if is_shown:
                here = _address(LOOPBACK, at) if is_anywhere else address
                threading.Thread(target=webbrowser.open, args=(here,), daemon=True).start()
            serve(app, socket)
    finally:
        source.close()


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_loopback(host: str) -> bool:
    """Tell whether an address is this computer's own."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(token: str | None) -> str | None:
    """Return what was typed, or what the file that it names holds."""
    if token is None or not token.startswith("@"):
        return token
    try:
        return Path(token[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise WrongArgument(f"--token {token} cannot be read: name a file of text") from error
