"""What the model is asked while an atlas is served; each is a job for `oscine.steps.apart`.

In come a workspace and numbers of its events, or a sound file; out come what is alike, a picture
that the model drew, or a map by another readout than that of the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oscine.config import WrongArgument
from oscine.embedding.intervals import FrameInterval
from oscine.picture.tape import Tape
from oscine.sound.audio import hushed, open_audio
from oscine.steps.apart import Tell
from oscine.steps.examples import Archive, Stretch
from oscine.steps.found import SimilarReport
from oscine.steps.hearing_calls import exchange_sample, fitted_individual
from oscine.steps.searching import similar
from oscine.steps.shared import looked_at, open_tape

LONGEST_S = 60.0
MOST_VALUES_PER_S = 8 * 400_000
"""Channels times rate of a sound that is heard: bats, on several channels."""
AT_ONCE = 250
"""Events encoded between two words of how far it is."""
ENCODED_SHARE = 0.7
"""Of the time that a map takes, until all is encoded."""
FITTED_SHARE = 0.3
"""Of that time, until the readout for individuals is fitted where it is not kept."""
NAME = "the sound"
LAYER, INDIVIDUALS = "layer-", "individuals"
"""Readouts that a map can be drawn by: of one layer, whose number follows; and who calls."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Redrawn:
    """What the masked model makes of some frames.

    Attributes
    ----------
    start_frame : int
        Of the recording.
    recorded, drawn : np.ndarray of uint8 [shape=(T, F)]
        Codes of the tape; drawn is as recorded where nothing was hidden.
    is_hidden : np.ndarray of bool [shape=(T, F)]
    """

    start_frame: int
    recorded: np.ndarray
    drawn: np.ndarray
    is_hidden: np.ndarray


def hear(
    folder: Path, file: Path, start_s: float | None, stop_s: float | None, top: int, _: Tell
) -> SimilarReport:
    """Find the events that are most like a sound file.

    Raises
    ------
    WrongArgument
        It cannot be heard, or is too long.
    ValueError
        There are no vectors, or not of the model in use, or PyTorch is not installed.
    """
    try:
        _check_length(file)
        asked = Stretch(file=file, start_s=start_s, stop_s=stop_s)
        report = similar(asked, folder, top=top, own=0)
    except ValueError as error:
        said = _unnamed(str(error), file)
        raise (WrongArgument if isinstance(error, WrongArgument) else ValueError)(said) from None
    return replace(report, like=[NAME], notes=[_unnamed(note, file) for note in report.notes])


def redraw(folder: Path, number: int, seed: int, _: Tell) -> Redrawn:
    """Let the model draw what is hidden of an event and of what lies around it."""
    from oscine.model.checkpoint import load_checkpoint
    from oscine.picture.tape import coded
    from oscine.training.figures import redrawn_window

    with looked_at(folder, (), None, "picture") as opened:
        archive = Archive.of(*opened)
        interval = archive.intervals([number])[number]
        tape = open_tape(*opened)[0]
        model, run = load_checkpoint(folder / archive.needed_model()["checkpoint"])[:2]
    recording, n_window = interval.recording, run.picture.window_frames
    middle = (interval.start_frame + interval.stop_frame) // 2
    start = max(0, min(middle - n_window // 2, recording.n_frames - n_window))
    stop = min(recording.n_frames, start + n_window)
    rows = recording.tape_row + start, recording.tape_row + stop
    drawn, is_hidden = redrawn_window(
        model, tape.log_mel(*rows), recording.n_valid_bands, run.training, seed
    )
    return Redrawn(
        start_frame=start, recorded=tape.codes(*rows), drawn=coded(drawn), is_hidden=is_hidden
    )


def map_by(folder: Path, numbers: Sequence[int], readout: str, tell: Tell) -> np.ndarray:
    """Lay some events out as another readout than that of the archive reads them.

    Parameters
    ----------
    folder : Path
        The workspace.
    numbers : sequence of N int
        Of events.
    readout : str
        ``layer-2``: layer 2 alone, read as the readout of the archive reads its layers.
        ``individuals``: what stays of a call when its background is exchanged, less what all calls
        of its sound type share, as they were found. It is fitted where it is not there yet, and
        not kept.
    tell : callable
        Told how far it is.

    Returns
    -------
    np.ndarray of float32 [shape=(N, 2)]

    Raises
    ------
    ValueError
        There are no vectors yet, or the archive is too small for the readout.
    """
    from oscine.atlas.projection import project_vectors

    with looked_at(folder, (), None, "picture") as opened:
        archive, tape = Archive.of(*opened), open_tape(*opened)[0]
        by_number = archive.intervals(numbers)
        intervals = [by_number[number] for number in numbers]
        if readout == INDIVIDUALS:
            types = opened[1].found_types().by_event()
            of_type = [types.get(number, -1) for number in numbers]
            vectors = _of_individuals(archive, tape, intervals, of_type, tell)
        else:
            layer = int(readout.removeprefix(LAYER))
            vectors = _of_layer(archive, tape, intervals, layer, tell)
        return project_vectors(
            vectors.astype(np.float32),
            [f"{number:010d}" for number in numbers],
            [one.recording.content_key for one in intervals],
            seed=opened[2].cluster.seed,
        ).xy


def _of_layer(
    archive: Archive, tape: Tape, intervals: Sequence[FrameInterval], layer: int, tell: Tell
) -> np.ndarray:
    from oscine.embedding.readout import fit_readout
    from oscine.embedding.vectors import encoded_intervals

    config, encoder = replace(archive.readout.config, layers=(layer,)), archive.encoder()
    portions = _in_portions(
        lambda some: encoded_intervals(tape, encoder, config, some), intervals, 0.0, tell
    )
    features = np.concatenate(list(portions))
    readout = fit_readout(lambda start, stop: features[start:stop], len(features), config, "")
    return readout.vectors(features)


def _of_individuals(
    archive: Archive,
    tape: Tape,
    intervals: Sequence[FrameInterval],
    types: Sequence[int],
    tell: Tell,
) -> np.ndarray:
    from oscine.embedding.individual import centred
    from oscine.embedding.vectors import vectors_of

    catalogue, encoder = archive.catalogue, archive.encoder()
    readout, is_new = fitted_individual(
        archive.workspace,
        catalogue,
        encoder,
        archive.readout,
        lambda: exchange_sample(catalogue, archive.config, tape, encoder, archive.readout),
    )
    portions = _in_portions(
        lambda some: vectors_of(tape, encoder, readout, some),
        intervals,
        FITTED_SHARE if is_new else 0.0,
        tell,
    )
    return centred(np.concatenate(list(portions)), types)


def _in_portions(
    heard: Callable[[Sequence[FrameInterval]], np.ndarray],
    intervals: Sequence[FrameInterval],
    begun: float,
    tell: Tell,
) -> Iterator[np.ndarray]:
    """Hear a few at a time, and tell how far the map is."""
    for start in range(0, len(intervals), AT_ONCE):
        yield heard(intervals[start : start + AT_ONCE])
        share = min(1.0, (start + AT_ONCE) / len(intervals))
        tell(begun + (ENCODED_SHARE - begun) * share)


def _check_length(file: Path) -> None:
    """Refuse a file that is too much, whatever its header says."""
    with hushed(), open_audio(file) as audio:
        rate_hz = audio.sample_rate_hz
        if audio.n_channels * rate_hz > MOST_VALUES_PER_S:
            raise WrongArgument(
                f"{audio.n_channels} channels of {rate_hz:,} Hz are too much to be heard"
            )
        too_long = WrongArgument(f"it is longer than {LONGEST_S:g} s: send a part of it")
        if (audio.n_promised or 0) > LONGEST_S * rate_hz:
            raise too_long
        n_samples = 0
        for block in audio.blocks(rate_hz):
            n_samples += block.shape[1]
            if n_samples > LONGEST_S * rate_hz:
                raise too_long


def _unnamed(said: str, file: Path) -> str:
    """Say nothing of where a sound lies meanwhile."""
    return said.replace(str(file), NAME).replace(file.name, NAME)
