"""`learn`: all steps one after another, the main job.

In come folders of recordings; out comes an atlas of their sounds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from oscine.config import (
    OscineConfig,
    with_preset,
)
from oscine.sound.archive import AUDIO_SUFFIXES
from oscine.steps.learning import fresh_no_more, pretrain, take_model
from oscine.steps.listening import index
from oscine.steps.mapping import cluster, embed
from oscine.steps.reporting import LearnReport, report
from oscine.steps.shared import Progress, seeds_of


def learn(
    archives: Sequence[Path],
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    preset: str | None = None,
    size: str | None = None,
    model: Path | None = None,
    workers: int | None = None,
    fresh: bool = False,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> LearnReport:
    """Do the main job: index, pretrain, embed, cluster, map, report.

    Parameters
    ----------
    archives : sequence of Path
    folder : Path
        Of the workspace.
    minutes, steps, fresh
        As in :func:`pretrain`.
    seed : int, optional
        Of everything that depends on chance.
    model : Path, optional
        A checkpoint to use instead of pretraining.
    preset, workers
        As in :func:`index`.
    size : str, optional
        The preset of :func:`pretrain`.
    settings : iterable of str
        Dotted overrides.
    progress : callable, optional

    Returns
    -------
    LearnReport

    Raises
    ------
    FileNotFoundError
        An archive is not there.
    ValueError
        There is no recording in it, or a step fails.
    """
    settings = [*seeds_of(seed, "training", "readout", "cluster"), *settings]
    if size is not None:
        with_preset(OscineConfig(), size, "training")  # refused before hours of listening
    is_new = not folder.exists()
    indexed = index(
        archives, folder, preset=preset, workers=workers, settings=settings, progress=progress
    )
    if not indexed.files:
        if is_new:
            shutil.rmtree(folder)  # there is nothing in it
        raise ValueError(
            f"{', '.join(map(str, archives))} holds no recording: no file in it ends in "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}; name the folder that they are in"
        )
    if model is None:
        pretrain(
            folder,
            preset=size,
            minutes=minutes,
            steps=steps,
            fresh=fresh,
            settings=settings,
            progress=progress,
        )
    else:
        take_model(folder, model, settings=settings)
    with fresh_no_more(fresh and model is None):
        embed(folder, settings=settings, progress=progress)
        cluster(folder, settings=settings, progress=progress)
        learned = report(folder, progress=progress)
    return replace(learned, notes=[*indexed.notes, *learned.notes])
