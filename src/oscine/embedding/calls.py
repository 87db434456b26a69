"""Calls of the archive as the readout for individuals hears them, kept beside it.

In come events that speak for the archive; out come their vectors, and the backgrounds of their
recordings: what two calls are held against when it is asked whether one animal gave both. Made once
for each readout.

Axes: N events, E dimensions, R recordings, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oscine.config import PictureConfig
from oscine.embedding.backgrounds import background_shape, quiet_frames
from oscine.embedding.individual import IndividualReadout
from oscine.embedding.intervals import FrameInterval
from oscine.embedding.vectors import vectors_of
from oscine.model.autoencoder import Encoder
from oscine.picture.tape import Tape
from oscine.workspace.arrays import load_described, save_described

CALLS = "calls.safetensors"
MOST_BACKGROUNDS = 500


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeardCalls:
    """Events that speak for an archive, and backgrounds of its recordings.

    Attributes
    ----------
    made_from : str
        Fingerprint of the readout and of the archive.
    event_ids : np.ndarray of int64 [shape=(N,)]
    individuals : np.ndarray of float32 [shape=(N, E)]
        Not centred.
    recordings : tuple of R str
        Content keys of the recordings whose backgrounds are known.
    backgrounds : np.ndarray of float32 [shape=(R, F)]
        As of :func:`oscine.embedding.backgrounds.background_shape`.
    """

    made_from: str
    event_ids: np.ndarray
    individuals: np.ndarray
    recordings: tuple[str, ...]
    backgrounds: np.ndarray

    def save(self, folder: Path) -> None:
        """Write ``calls.safetensors`` into a folder."""
        save_described(
            folder / CALLS,
            {"made_from": self.made_from, "recordings": list(self.recordings)},
            {
                "event_ids": self.event_ids,
                "individuals": self.individuals,
                "backgrounds": self.backgrounds,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> HeardCalls:
        """Read ``calls.safetensors`` from a folder.

        Raises
        ------
        FileNotFoundError
            It is not there.
        ValueError
            It is damaged.
        """
        file = folder / CALLS
        try:
            meta, arrays = load_described(file)
            return cls(made_from=meta["made_from"], recordings=tuple(meta["recordings"]), **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is damaged ({error}): remove it, it is made again") from error


def hear_calls(
    tape: Tape,
    encoder: Encoder,
    readout: IndividualReadout,
    events: Sequence[tuple[int, FrameInterval]],
    picture: PictureConfig,
    made_from: str,
) -> HeardCalls:
    """Hear events that speak for an archive, and the backgrounds of their recordings.

    Parameters
    ----------
    tape : Tape
    encoder : Encoder
    readout : IndividualReadout
    events : sequence of N (number, FrameInterval)
    picture : PictureConfig
    made_from : str

    Returns
    -------
    HeardCalls
    """
    recordings = {one.recording.content_key: one.recording for _, one in events}
    shapes: dict[str, np.ndarray] = {}
    for key, recording in sorted(recordings.items()):
        quiet = quiet_frames(tape, recording, picture)
        if quiet is not None:
            shapes[key] = background_shape(quiet)
        if len(shapes) == MOST_BACKGROUNDS:
            break
    return HeardCalls(
        made_from=made_from,
        event_ids=np.array([number for number, _ in events], np.int64),
        individuals=vectors_of(tape, encoder, readout, [one for _, one in events]),
        recordings=tuple(shapes),
        backgrounds=np.stack(list(shapes.values()))
        if shapes
        else np.empty((0, picture.n_mels), np.float32),
    )
