"""What several test files share."""

import os

# Small matrices are slower on several threads, and several times slower on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("oscine", deadline=None)  # how long a case takes says nothing here
settings.load_profile("oscine")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real recordings."""
    if "OSCINE_DATA" not in os.environ:
        pytest.skip("OSCINE_DATA does not name the folder of real recordings")
    return Path(os.environ["OSCINE_DATA"])


@pytest.fixture
def call(capsys):
    """Run the command line; give its exit code, standard output and standard error."""
    from oscine.cli import run

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def pytest_unconfigure(config):
    """Say on the very last line if the page of `oscine explore` was not tested."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    if any("test_explorer_page" in one.nodeid for one in skipped):
        reporter.write_line(
            "The page of `oscine explore` was not tested: install Chromium or Chrome."
        )
