"""An atlas that nobody learned, and a server of it on a free port of this computer."""

import threading
import time
from contextlib import contextmanager

import httpx

from oscine.atlas.explorer.access import Access, log
from oscine.atlas.explorer.app import create_app
from oscine.atlas.explorer.columns import unpacked
from oscine.atlas.explorer.serving import listening, server_of
from oscine.steps.answering import WorkspaceSource
from oscine.workspace import Workspace

WRITING = {"X-Oscine": "1"}


def write(folder, n_events=400):
    """Write a workspace of so many events in short recordings."""
    import atlas_fixture  # needs torch, which a server does not

    return atlas_fixture.write(folder, n_events, recording_s=10.0)


@contextmanager
def running(app_at):
    """Yield the port of a server; the application is made when the port is known."""
    with listening("127.0.0.1", 0, 0, 1) as (opened, port):
        server = server_of(app_at(port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(120)


@contextmanager
def served(folder, token=None, source=None):
    """Yield a client of the atlas of a workspace."""
    source = source or WorkspaceSource(Workspace(folder))

    def app_at(port):
        return create_app(source, Access(token=token) if token else Access.of_this_computer(port))

    try:
        with (
            running(app_at) as port,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client,
        ):
            yield client
    finally:
        source.close()


def columns(response):
    """Return the header and the columns of an answer."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    return unpacked(response.content)


def refused(caplog, n=1):
    """Return what was logged; a line is written once its answer is sent."""
    deadline = time.monotonic() + 60
    while True:
        lines = [one.getMessage() for one in caplog.records if one.name == log.name]
        if len(lines) >= n or time.monotonic() > deadline:
            return lines
        time.sleep(0.02)
