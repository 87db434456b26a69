"""Vectors of every event and every window of a workspace, in files beside their readout.

In come the tape, the catalogue and an encoder; out come ``readout.safetensors`` and the vectors,
row by row in the order of the catalogue's numbers. Killed at any moment it goes on where it was.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oscine.config import (
    ActivityConfig,
    PictureConfig,
    ReadoutConfig,
    fingerprint,
    from_mapping,
    to_mapping,
)
from oscine.embedding.choice import choose_readout
from oscine.embedding.duplicates import Duplicates, find_duplicates
from oscine.embedding.embed import pooled_features, tape_excerpt
from oscine.embedding.individual import IndividualReadout
from oscine.embedding.intervals import FrameInterval, fit_sample, frame_intervals
from oscine.embedding.readout import READOUT, Choice, Readout, fit_readout
from oscine.model.autoencoder import Encoder
from oscine.model.checkpoint import load_encoder
from oscine.picture.tape import Tape
from oscine.workspace.arrays import ArrayReader, ArrayWriter
from oscine.workspace.catalogue import Catalogue, Stage
from oscine.workspace.distribute import Lost, ray_map

PORTION = 512
"""Intervals between two notes in the catalogue; also what is encoded together."""


Portions = Sequence[Sequence[FrameInterval]]
Far = Callable[[ReadoutConfig, Portions], Iterator[np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """What was embedded.

    Attributes
    ----------
    n_events, n_windows : int
    dimensions : int
    n_fitted : int
        Intervals that the readout was fitted on.
    refitted : bool
        False where a readout that was there already was used.
    duplicates : Duplicates
        Events that differ and have the same vector.
    """

    n_events: int
    n_windows: int
    dimensions: int
    n_fitted: int
    refitted: bool
    duplicates: Duplicates


def embed_archive(
    catalogue: Catalogue,
    folder: Path,
    tape: Tape,
    encoder: Encoder,
    config: ReadoutConfig,
    activity: ActivityConfig,
    *,
    archive: str,
    weights: str,
    refit: bool = False,
    far: Far | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Embed every event and window.

    Parameters
    ----------
    catalogue : Catalogue
    folder : Path
        Of the vectors.
    tape : Tape
    encoder : Encoder
    config : ReadoutConfig
        What it leaves open is chosen first.
    activity : ActivityConfig
    archive, weights : str
        Fingerprints of what the tape holds and of the encoder's weights.
    refit : bool
        Fit the readout again even where one for these weights and settings is there.
    far : callable, optional
        Encodes portions of intervals elsewhere, and gives their features in order.
    progress : callable, optional
        Told the intervals done and their number: those listened to for the choice, then all others,
        fitting included.

    Returns
    -------
    Embedded

    Raises
    ------
    ValueError
        The archive has too little in it to fit a readout.
    """
    heard = catalogue.recordings()
    recordings = {row.recording_id: row for row in catalogue.recordings(with_absent=True)}
    # A row for each number ever given, also for what is absent now: it may come back.
    rows = {
        "events": frame_intervals(catalogue.events(with_absent=True), recordings),
        "windows": frame_intervals(catalogue.windows(with_absent=True), recordings),
    }
    events = [one for one in rows["events"] if one.recording.is_present]
    windows = [one for one in rows["windows"] if one.recording.is_present]
    wanted = fingerprint(archive, weights, config)
    stage = catalogue.stage("embed")
    if stage is None or stage.fingerprint != wanted or refit:
        stage = _begin(catalogue, folder, wanted, weights, config, refit)
    facts = dict(stage.facts)
    if stage.finished:
        return replace(_embedded(facts, events, windows), refitted=False)

    def note(**changes: Any) -> None:
        facts.update(changes)
        catalogue.set_stage("embed", Stage(fingerprint=wanted, finished=False, facts=facts))
        if progress is not None:
            done = facts["features"] + facts["events"] + facts["windows"]
            progress(done, (0 if facts["kept"] else n_sample) + sum(map(len, rows.values())))

    sample = fit_sample(events, windows, config)
    n_sample = len(sample)
    readout = None
    if facts["kept"]:
        readout = Readout.load(folder)
    elif "settled" not in facts:
        settled, choice = config, None
        if not config.is_settled:
            settled, choice = choose_readout(
                tape, encoder, config, activity, events, sample, heard, progress
            )
        note(settled=to_mapping(settled), choice=None if choice is None else to_mapping(choice))
    if readout is None:
        settled = from_mapping(ReadoutConfig, facts["settled"])
        encode = _Encode(tape, encoder, settled, far)
        stored = _store_features(folder / "features", sample, encode, facts["features"], note)
        readout = fit_readout(stored.rows, n_sample, settled, weights)
        choice = facts["choice"] and from_mapping(Choice, facts["choice"])
        readout = replace(readout, choice=choice)
        readout.save(folder)
        encode.remember(sample, stored)
    else:
        encode = _Encode(tape, encoder, readout.config, far)
    for name, intervals in rows.items():
        writer = ArrayWriter(
            folder / name, np.dtype(np.float32), (readout.dimensions,), facts[name]
        )
        for features in encode.portions(intervals[facts[name] :]):
            writer.append(readout.vectors(features))
            writer.flush()
            note(**{name: writer.n_rows})
    shape = (readout.dimensions,)
    vectors = ArrayReader(folder / "events", np.dtype(np.float32), shape, facts["events"]).rows(
        0, facts["events"]
    )
    if len(events) < len(vectors):
        vectors = vectors[[one.recording.is_present for one in rows["events"]]]
    facts |= {
        "dimensions": readout.dimensions,
        "digest": _digest(folder / "events"),
        "duplicates": to_mapping(find_duplicates(vectors, events, tape, config.seed)),
    }
    if not facts["kept"]:
        facts |= {"fitted": n_sample, "variance_share": readout.variance_share}
        del facts["choice"]  # the readout keeps it
    catalogue.set_stage("embed", Stage(fingerprint=wanted, finished=True, facts=facts))
    shutil.rmtree(folder / "features", ignore_errors=True)
    return _embedded(facts, events, windows)


def _embedded(
    facts: dict[str, Any], events: Sequence[FrameInterval], windows: Sequence[FrameInterval]
) -> Embedded:
    return Embedded(
        n_events=len(events),
        n_windows=len(windows),
        dimensions=facts["dimensions"],
        n_fitted=facts.get("fitted", 0),
        refitted=not facts["kept"],
        duplicates=from_mapping(Duplicates, facts.get("duplicates", {})),
    )


def _begin(
    catalogue: Catalogue,
    folder: Path,
    wanted: str,
    weights: str,
    config: ReadoutConfig,
    refit: bool,
) -> Stage:
    """Begin, keeping a readout that was fitted for these weights and settings, and its vectors."""
    made_with = fingerprint(weights, config)
    done = {"events": 0, "windows": 0}
    kept = False
    if (folder / READOUT).exists() and not refit:
        readout = Readout.load(folder)
        asked = readout.config if readout.choice is None else readout.choice.asked
        kept = (readout.encoder, asked) == (weights, config)
        before = catalogue.stage("embed")
        if kept and before is not None and before.facts.get("made_with") == made_with:
            done = {name: before.facts[name] for name in done}
    facts: dict[str, Any] = {"features": 0, **done, "kept": kept, "made_with": made_with}
    stage = Stage(fingerprint=wanted, finished=False, facts=facts)
    catalogue.set_stage("embed", stage)
    return stage


class _Encode:
    """Intervals to features, read from disk where they were stored for the fit."""

    def __init__(
        self, tape: Tape, encoder: Encoder, config: ReadoutConfig, far: Far | None
    ) -> None:
        self._tape, self._encoder, self._config, self._far = tape, encoder, config, far
        self._rows: dict[FrameInterval, int] = {}
        self._stored: ArrayReader | None = None

    def remember(self, intervals: Sequence[FrameInterval], stored: ArrayReader) -> None:
        """Read these intervals from an array from now on."""
        self._rows = {one: row for row, one in enumerate(intervals)}
        self._stored = stored

    def portions(self, intervals: Sequence[FrameInterval]) -> Iterator[np.ndarray]:
        """Yield the features of intervals [shape=(n, L, M, 2 * D + 1)], a portion at a time."""
        starts = range(0, len(intervals), PORTION)
        portions = [intervals[start : start + PORTION] for start in starts]
        unknown = [[one for one in portion if one not in self._rows] for portion in portions]
        for portion, encoded in zip(portions, self._encoded(unknown), strict=True):
            fresh = iter(encoded)
            yield np.stack(
                [self._read(one) if one in self._rows else next(fresh) for one in portion]
            )

    def shape(self, interval: FrameInterval) -> tuple[int, ...]:
        """Return the shape of the features of an interval."""
        return encoded_intervals(self._tape, self._encoder, self._config, [interval]).shape[1:]

    def _read(self, interval: FrameInterval) -> np.ndarray:
        assert self._stored is not None
        row = self._rows[interval]
        return self._stored.rows(row, row + 1)[0]

    def _encoded(self, portions: Portions) -> Iterator[np.ndarray]:
        if self._far is not None:
            return self._far(self._config, portions)
        return (
            encoded_intervals(self._tape, self._encoder, self._config, portion)
            for portion in portions
        )


def encoded_intervals(
    tape: Tape, encoder: Encoder, config: ReadoutConfig, intervals: Sequence[FrameInterval]
) -> np.ndarray:
    """Return the features of some intervals [shape=(n, L, M, 2 * D + 1)]."""
    if not intervals:
        return np.empty((0,), np.float32)
    excerpts = [tape_excerpt(tape, one.recording, one.frames, encoder, config) for one in intervals]
    return pooled_features(encoder, excerpts, config)


def vectors_of(
    tape: Tape,
    encoder: Encoder,
    readout: Readout | IndividualReadout,
    intervals: Sequence[FrameInterval],
) -> np.ndarray:
    """Return the vectors of stretches of recordings on a tape, as one readout gives them.

    Parameters
    ----------
    tape : Tape
    encoder : Encoder
    readout : Readout or IndividualReadout
        Fitted on the features of this encoder. That for individuals gives vectors that are neither
        centred nor of unit length.
    intervals : sequence of N FrameInterval

    Returns
    -------
    np.ndarray of float32 [shape=(N, D)]
    """
    portions = [np.empty((0, 0), np.float32)] if not intervals else []
    for start in range(0, len(intervals), PORTION):
        features = encoded_intervals(
            tape, encoder, readout.config, intervals[start : start + PORTION]
        )
        portions.append(readout.vectors(features).astype(np.float32))
    return np.concatenate(portions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where another process finds tape and encoder."""

    tape: Path
    picture: PictureConfig
    n_rows: int
    checkpoint: Path


def encode_with_ray(
    ray: Any, places: Places, config: ReadoutConfig, portions: Portions
) -> Iterator[np.ndarray]:
    """Yield the features of portions of intervals, in order, from a Ray cluster.

    Raises
    ------
    RuntimeError
        A portion brought down its process, each time.
    """
    for features in ray_map(ray, _encode_at, [(places, config, one) for one in portions]):
        if isinstance(features, Lost):
            raise RuntimeError(f"embedding {features.reason}: run `oscine embed` again")
        yield features


def _encode_at(task: tuple[Places, ReadoutConfig, Sequence[FrameInterval]]) -> np.ndarray:
    places, config, intervals = task
    return encoded_intervals(*_opened(places), config, intervals)


@lru_cache(maxsize=1)
def _opened(places: Places) -> tuple[Tape, Encoder]:
    return Tape(places.tape, places.picture, places.n_rows), load_encoder(places.checkpoint)


def _store_features(
    folder: Path,
    sample: Sequence[FrameInterval],
    encode: _Encode,
    done: int,
    note: Callable[..., None],
) -> ArrayReader:
    """Write the features of the sample to disk, from where it stopped."""
    shape = encode.shape(sample[0])
    writer = ArrayWriter(folder, np.dtype(np.float32), shape, done, rows_per_shard=PORTION)
    for features in encode.portions(sample[done:]):
        writer.append(features)
        writer.flush()
        note(features=writer.n_rows)
    return ArrayReader(folder, np.dtype(np.float32), shape, len(sample), rows_per_shard=PORTION)


def _digest(folder: Path) -> str:
    """Return what stands for the bytes of an array: later steps tell by it whether it changed."""
    digest = hashlib.blake2b(digest_size=8)
    for shard in sorted(folder.glob("*.bin")):
        with open(shard, "rb") as file:
            while portion := file.read(2**24):
                digest.update(portion)
    return digest.hexdigest()
