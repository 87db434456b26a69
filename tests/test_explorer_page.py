"""The page of `oscine explore` in a real browser, on a small learned archive: what a person does."""

import contextlib
import csv
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

playwright = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is missing")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: chromium is missing")
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
MARGIN = 0.05
"""Of the map, left free around all points."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=1, recording_s=10))
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", folder)
