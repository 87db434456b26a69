"""An atlas that nobody learned, served to tests without a network."""

import sys
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from oscine.atlas.explorer.access import Access
from oscine.atlas.explorer.app import create_app
from oscine.atlas.explorer.columns import unpacked
from oscine.steps.answering import WorkspaceSource
from oscine.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import atlas_fixture

PORT = 8137
HOME = f"http://127.0.0.1:{PORT}"
WRITING = {"X-Oscine": "1"}


def write(folder, n_events=400):
    """Write a workspace of so many events in short recordings."""
    return atlas_fixture.write(folder, n_events, recording_s=10.0)


@contextmanager
def served(folder, access=None, **client):
    """Yield a client of the atlas of a workspace."""
    source = WorkspaceSource(Workspace(folder))
    app = create_app(source, access or Access.of_this_computer(PORT))
    try:
        with TestClient(app, base_url=HOME, **client) as asked:
            yield asked
    finally:
        source.close()


def columns(response):
    """Return the header and the columns of an answer."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    return unpacked(response.content)
