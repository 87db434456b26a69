"""What a likeness is worth: where it lies among those of unrelated sounds.

In come vectors of an archive's events with what they sound like otherwise (band, length, level);
out come percentiles. A cosine alone means nothing: two short high calls are more alike than a call
and a rumble, whoever gave them. So a pair is held against pairs of unrelated events, from different
recordings and days, of which each is matched to one of the two. No label is needed. NumPy only.

Axes: N sounds, M matched sounds, Q queries, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from oscine.workspace.catalogue import Catalogue, HeardEvent

MATCHED = 100
"""Sounds of the archive that a sound is held against: those most like it in band, length, level."""
FEWEST_RECORDINGS = 10
"""In which the matched sounds of a pair must lie: with fewer there is no percentile."""
MOST_EVENTS = 4000
"""That speak for an archive."""
LEAST_HZ = 20.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sounds:
    """Sounds that can be compared, row by row.

    Attributes
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
        Of unit length.
    traits : np.ndarray of float64 [shape=(N, 4)]
        As :func:`traits` returns them.
    recordings : np.ndarray of str [shape=(N,)]
        What stands for the recording of each.
    days : np.ndarray of str [shape=(N,)]
        Site and date of each; empty where the date is not known.
    """

    vectors: np.ndarray
    traits: np.ndarray
    recordings: np.ndarray
    days: np.ndarray

    def __len__(self) -> int:
        """Return the number of sounds."""
        return len(self.vectors)

    def rows(self, rows: np.ndarray | Sequence[int]) -> Sounds:
        """Return some of the sounds."""
        return Sounds(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def joined(several: Sequence[Sounds]) -> Sounds:
    """Return sounds one after another."""
    return Sounds(
        **{
            one.name: np.concatenate([getattr(sounds, one.name) for sounds in several])
            for one in fields(Sounds)
        }
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentile:
    """Where a likeness lies among those of unrelated pairs.

    Attributes
    ----------
    share : float
        Of the unrelated pairs, those less alike; recordings weigh alike. Never 0 or 1.
    n_pairs, n_recordings : int
        That it rests on.
    """

    share: float
    n_pairs: int
    n_recordings: int


def traits(
    duration_s: np.ndarray, low_hz: np.ndarray, high_hz: np.ndarray, level_db: np.ndarray
) -> np.ndarray:
    """Return what sounds are matched by [shape=(N, 4)]: octaves of length and band, level in bels.

    Parameters
    ----------
    duration_s, low_hz, high_hz, level_db : np.ndarray of float [shape=(N,)]
        The level is that above the background.
    """
    return np.stack(
        [
            np.log2(np.maximum(duration_s, 1e-3)),
            np.log2(np.maximum(low_hz, LEAST_HZ)),
            np.log2(np.maximum(high_hz, LEAST_HZ)),
            np.asarray(level_db, np.float64) / 10,
        ],
        axis=1,
    )


def stretch_traits(
    duration_s: float, events: Sequence[tuple[float, float, float]], band_hz: tuple[float, float]
) -> np.ndarray:
    """Return what a stretch of a recording is matched by [shape=(1, 4)].

    Its length, and band and level of the event in it that stands out most.

    Parameters
    ----------
    duration_s : float
    events : sequence of (low_hz, high_hz, level_db)
        That sound within it.
    band_hz : (low, high)
        Of all that can be heard: where nothing stands out, at a level of 0 dB.
    """
    low_hz, high_hz, level_db = max(events, key=lambda one: one[2], default=(*band_hz, 0.0))
    return traits(*(np.array([value]) for value in (duration_s, low_hz, high_hz, level_db)))


def are_related(one: Sounds, other: Sounds) -> np.ndarray:
    """Tell which pairs share a recording, or a site and date [shape=(N, N')]."""
    is_one_day = (one.days[:, None] == other.days) & (one.days[:, None] != "")
    return (one.recordings[:, None] == other.recordings) | is_one_day


def described(vectors: np.ndarray, events: Sequence[HeardEvent]) -> Sounds:
    """Return events of an archive as sounds.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    events : sequence of N HeardEvent
    """
    return Sounds(
        vectors=vectors,
        traits=traits(
            *(
                np.array([getattr(one, name) for one in events], np.float64)
                for name in ("duration_s", "low_hz", "high_hz", "level_db")
            )
        ),
        recordings=np.array([one.recording for one in events], str),
        days=np.array([day_of(one) for one in events], str),
    )


def day_of(event: HeardEvent) -> str:
    """Return what stands for site and date of an event; empty where the date is not known."""
    return f"{event.site}|{event.date}" if event.date else ""


def draw_events(catalogue: Catalogue, n_rows: int, seed: int = 0) -> list[HeardEvent]:
    """Draw events that speak for an archive, at most 4,000.

    Parameters
    ----------
    catalogue : Catalogue
    n_rows : int
        Events that have a vector: those with the numbers up to this.
    seed : int

    Returns
    -------
    list of HeardEvent
        By number.
    """
    rng = np.random.default_rng(seed)
    # Of those drawn some are of recordings that are gone.
    numbers = np.sort(rng.permutation(n_rows)[: 2 * MOST_EVENTS]) + 1
    events = catalogue.heard_events(numbers.tolist())
    chosen = np.sort(rng.permutation(len(events))[:MOST_EVENTS])
    return [events[row] for row in chosen]


class Cohort:
    """Events that speak for an archive.

    Parameters
    ----------
    sounds : Sounds
    """

    def __init__(self, sounds: Sounds) -> None:
        self.sounds = sounds
        self._centre = sounds.traits.mean(axis=0) if len(sounds) else np.zeros(4)
        spread = sounds.traits.std(axis=0) if len(sounds) else np.ones(4)
        self._spread = np.where(spread > 0, spread, 1.0)

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each sound [shape=(N,)]: all recordings weigh alike."""
        _, number, count = np.unique(
            self.sounds.recordings, return_inverse=True, return_counts=True
        )
        return 1.0 / count[number]

    def matched(self, one: Sounds, n: int = MATCHED) -> np.ndarray:
        """Return the rows of the sounds that are nearest to one in band, length and level.

        Parameters
        ----------
        one : Sounds
            A single one. What is related to it is left out.
        n : int

        Returns
        -------
        np.ndarray of int [shape=(M,)]
        """
        scaled = (self.sounds.traits - self._centre) / self._spread
        distance = np.square(scaled - (one.traits[0] - self._centre) / self._spread).sum(axis=1)
        able = np.flatnonzero(~are_related(one, self.sounds)[0])
        return able[np.argsort(distance[able], kind="stable")[:n]]

    def percentiles(self, query: Sounds, others: Sounds) -> list[Percentile | None]:
        """Return where the likeness of a query and each of other sounds lies.

        Parameters
        ----------
        query : Sounds
            A single one.
        others : Sounds [N sounds]

        Returns
        -------
        list of N (Percentile or None)
            None where the archive has too little to say.
        """
        near_query = self.matched(query)
        found: list[Percentile | None] = []
        for row in range(len(others)):
            other = others.rows([row])
            near_other = self.matched(other)
            one, two = self.sounds.rows(near_query), self.sounds.rows(near_other)
            is_pair = ~are_related(one, two)
            weights = self.weights[near_query][:, None] * self.weights[near_other] * is_pair
            held = np.concatenate(
                [near_query[is_pair.any(axis=1)], near_other[is_pair.any(axis=0)]]
            )
            n_recordings = len(np.unique(self.sounds.recordings[held]))
            found.append(
                percentile(
                    float(query.vectors[0] @ other.vectors[0]),
                    (one.vectors @ two.vectors.T)[is_pair],
                    weights[is_pair],
                    n_recordings=n_recordings,
                    n_independent=pairs_of(n_recordings),
                )
            )
        return found


def pairs_of(n: int) -> int:
    """Return the number of pairs of n things."""
    return n * (n - 1) // 2


def percentile(
    likeness: float,
    unrelated: np.ndarray,
    weights: np.ndarray,
    *,
    n_recordings: int,
    n_independent: int,
) -> Percentile | None:
    """Return where a likeness lies among those of unrelated pairs, each with its weight.

    Half an independent pair is added on either side: no finite number shows that none is as alike.

    Parameters
    ----------
    likeness : float
    unrelated, weights : np.ndarray of float [shape=(N,)]
    n_recordings : int
        That these pairs are from.
    n_independent : int
        As many pairs as can be independent of each other, at most.

    Returns
    -------
    Percentile or None
        None where they are of fewer than ten recordings.
    """
    if n_recordings < FEWEST_RECORDINGS or not len(unrelated):
        return None
    below = float(weights[unrelated < likeness].sum() / weights.sum())
    n_independent = min(n_independent, len(unrelated))
    share = (below * n_independent + 0.5) / (n_independent + 1)
    return Percentile(share=share, n_pairs=len(unrelated), n_recordings=n_recordings)


def normalised(likeness: np.ndarray, is_unrelated: np.ndarray) -> np.ndarray:
    """Return likenesses in deviations from what each of the two has with unrelated sounds.

    Symmetric score normalisation (s-norm) of speaker verification (Shum et al. 2010, Odyssey;
    https://www.isca-archive.org/odyssey_2010/shum10_odyssey.html).

    Parameters
    ----------
    likeness : np.ndarray of float [shape=(N, N)]
    is_unrelated : np.ndarray of bool [shape=(N, N)]
        Symmetric.

    Returns
    -------
    np.ndarray of float64 [shape=(N, N)]
        Symmetric.
    """
    count = np.maximum(is_unrelated.sum(axis=1), 1)
    mean = np.where(is_unrelated, likeness, 0).sum(axis=1) / count
    apart = np.where(is_unrelated, likeness - mean[:, None], 0)
    deviation = np.sqrt(np.square(apart).sum(axis=1) / count)
    deviation = np.where(deviation > 0, deviation, 1.0)
    rows = (likeness - mean[:, None]) / deviation[:, None]
    columns = (likeness - mean) / deviation
    return (rows + columns) / 2
