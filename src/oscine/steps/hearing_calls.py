"""The readout for individuals of a workspace, and the calls that two are held against.

In comes a workspace with vectors and sound types; out come the readout, fitted when it is first
asked for, and calls of the archive as it hears them. `evaluate`, `same` and `individuals` ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import OscineConfig, fingerprint
from oscine.embedding.intervals import FrameInterval, frame_intervals
from oscine.embedding.readout import Readout
from oscine.search.similarity import described, draw_events, joined
from oscine.steps.examples import Archive, Asked
from oscine.steps.shared import Progress, archive_of, looked_at, needed, open_tape
from oscine.workspace.catalogue import Catalogue
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.embedding.calls import HeardCalls
    from oscine.embedding.individual import ExchangeSample, IndividualReadout
    from oscine.model.autoencoder import Encoder
    from oscine.picture.tape import Tape
    from oscine.search.individuals import Calls


def exchange_sample(
    catalogue: Catalogue, config: OscineConfig, tape: Tape, encoder: Encoder, readout: Readout
) -> ExchangeSample:
    """Hear events of the archive before other backgrounds.

    Raises
    ------
    ValueError
        The archive is too small.
    """
    from oscine.embedding.individual import draw_sample, individual_config

    recordings = catalogue.recordings()
    events = catalogue.events()
    # As they were found: what people say of them reaches nothing that is fitted.
    types = catalogue.found_types().by_event()
    return draw_sample(
        tape,
        encoder,
        individual_config(readout.config),
        config.activity,
        frame_intervals(events, {row.recording_id: row for row in recordings}),
        [types.get(event.event_id, -1) for event in events],
        recordings,
    )


def individual_readout(
    workspace: Workspace,
    catalogue: Catalogue,
    encoder: Encoder,
    readout: Readout,
    sample: Callable[[], ExchangeSample],
) -> IndividualReadout:
    """Return the readout for individuals: the one that is there, or a new one, which is kept.

    Raises
    ------
    ValueError
        The archive is too small for one.
    """
    found, is_new = fitted_individual(workspace, catalogue, encoder, readout, sample)
    if is_new:
        found.save(workspace.embeddings())
    return found


def fitted_individual(
    workspace: Workspace,
    catalogue: Catalogue,
    encoder: Encoder,
    readout: Readout,
    sample: Callable[[], ExchangeSample],
) -> tuple[IndividualReadout, bool]:
    """Return the readout for individuals, and whether it was fitted just now: it is not kept.

    Raises
    ------
    ValueError
        The archive is too small for one.
    """
    from oscine.embedding.individual import IndividualReadout, fit_individual, individual_config

    heard_as = individual_config(readout.config)
    made_from = _made_from(catalogue, readout)
    with suppress(FileNotFoundError):
        found = IndividualReadout.load(workspace.embeddings())
        if found.made_from == made_from:
            return found, False
    return fit_individual(sample(), encoder, heard_as, made_from), True


def _made_from(catalogue: Catalogue, readout: Readout) -> str:
    """Return what stands for all that the readout for individuals is fitted on."""
    from oscine.embedding.individual import individual_config

    # The step that groups is named by all that the sound types it found depend on.
    grouped = catalogue.stage("cluster")
    return fingerprint(
        readout.encoder,
        archive_of(catalogue),
        individual_config(readout.config),
        grouped.fingerprint if grouped is not None and grouped.finished else "",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class CallHearing:
    """Hears calls for individuals, and holds those that speak for the archive.

    What it needs of the archive is made when it is first wanted, where it is not there yet: what
    is asked is refused before that. Then another run that holds the workspace is a ValueError.

    Attributes
    ----------
    archive : Archive
    tape : Tape
        That of the archive.
    encoder : Encoder
    progress : callable or None
    """

    archive: Archive
    tape: Tape
    encoder: Encoder
    progress: Progress | None

    @cached_property
    def _held(self) -> tuple[IndividualReadout, HeardCalls]:
        """The readout, and calls that speak for the archive."""
        workspace, catalogue = self.archive.workspace, self.archive.catalogue
        read_by = _made_from(catalogue, self.archive.readout)
        made_from = fingerprint(read_by, needed(catalogue, "embed").facts["digest"])
        kept = _kept(workspace, read_by, made_from)
        if kept is not None:
            return kept
        with workspace.alone():
            return _made(self.archive, self.encoder, self.tape, made_from, self.progress)

    @property
    def cohort(self) -> Calls:
        """Calls that speak for the archive, as far as they are still present."""
        from oscine.search.individuals import Calls

        _, heard = self._held
        numbers = heard.event_ids
        events = self.archive.catalogue.heard_events(numbers.tolist())
        rows = np.searchsorted(numbers, [one.event_id for one in events])
        vectors = self.archive.vectors.take(numbers[rows] - 1)
        return Calls(kinds=described(vectors, events), individuals=heard.individuals[rows])

    def calls(self, asked: Sequence[Asked]) -> Calls:
        """Hear what was asked with."""
        from oscine.embedding.vectors import vectors_of
        from oscine.search.individuals import Calls

        readout, _ = self._held
        tapes = [one.tape or self.tape for one in asked]
        vectors: dict[int, np.ndarray] = {}
        for tape in dict.fromkeys(tapes):
            rows = [row for row, its in enumerate(tapes) if its is tape]
            intervals = [_interval(asked[row]) for row in rows]
            heard = vectors_of(tape, self.encoder, readout, intervals)
            vectors |= dict(zip(rows, heard, strict=True))
        return Calls(
            kinds=joined([one.sounds for one in asked]),
            individuals=np.stack([vectors[row] for row in range(len(asked))]),
        )

    def background(self, one: Asked) -> np.ndarray | None:
        """Return the shape of the background of a sound [shape=(F,)]; None: it has too little."""
        from oscine.embedding.backgrounds import background_shape, quiet_frames

        interval = _interval(one)
        middle = sum(interval.frames) // 2
        quiet = quiet_frames(
            one.tape or self.tape, interval.recording, self.archive.config.picture, middle
        )
        return None if quiet is None else background_shape(quiet)

    def backgrounds_without(self, asked: Sequence[Asked]) -> np.ndarray:
        """Return backgrounds of the archive [shape=(R, F)], but for the recordings asked about."""
        _, heard = self._held
        own = {_interval(one).recording.content_key for one in asked}
        return heard.backgrounds[[key not in own for key in heard.recordings]]


def _interval(one: Asked) -> FrameInterval:
    assert one.interval is not None  # no vector is asked of individuals
    return one.interval


@contextmanager
def hear_individuals(folder: Path, progress: Progress | None) -> Iterator[CallHearing]:
    """Open a workspace to ask of individuals.

    Raises
    ------
    ValueError
        There are no sound types yet, the archive is too small, or the vectors are not of the model
        in use.
    """
    with looked_at(folder, (), None, "picture") as (workspace, catalogue, config):
        needed(catalogue, "cluster")
        archive = Archive.of(workspace, catalogue, config)
        tape, _ = open_tape(workspace, catalogue, config)
        yield CallHearing(archive=archive, tape=tape, encoder=archive.encoder(), progress=progress)


def _kept(
    workspace: Workspace, read_by: str, made_from: str
) -> tuple[IndividualReadout, HeardCalls] | None:
    """Return readout and calls that are kept, if they are those of the archive as it is now."""
    from oscine.embedding.calls import HeardCalls
    from oscine.embedding.individual import IndividualReadout

    with suppress(FileNotFoundError):
        heard = HeardCalls.load(workspace.embeddings())
        readout = IndividualReadout.load(workspace.embeddings())
        if (readout.made_from, heard.made_from) == (read_by, made_from):
            return readout, heard
    return None


def _made(
    archive: Archive, encoder: Encoder, tape: Tape, made_from: str, progress: Progress | None
) -> tuple[IndividualReadout, HeardCalls]:
    """Fit the readout where that is needed, hear calls that speak for the archive, keep them."""
    from oscine.embedding.calls import hear_calls

    tell = progress or (lambda *_: None)
    workspace, catalogue, config = archive.workspace, archive.catalogue, archive.config
    tell("individuals", 0, 2, "once for an archive: the readout")
    readout = individual_readout(
        workspace,
        catalogue,
        encoder,
        archive.readout,
        lambda: exchange_sample(catalogue, config, tape, encoder, archive.readout),
    )
    tell("individuals", 1, 2, "once for an archive: its calls")
    drawn = draw_events(catalogue, archive.vectors.n_rows, config.readout.seed)
    numbers = [one.event_id for one in drawn]
    intervals = archive.intervals(numbers)
    events = [(number, intervals[number]) for number in numbers]
    heard = hear_calls(tape, encoder, readout, events, config.picture, made_from)
    heard.save(workspace.embeddings())
    tell("individuals", 2, 2, "")
    return readout, heard
