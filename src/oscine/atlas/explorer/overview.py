"""All events of an archive at once, as arrays: what map, cards and timeline are made of.

In comes a catalogue; out come an overview that is made once and never changed, and columns of it.
Of a million events it holds some tens of bytes each, and no object. The map shows all events, or
above 100,000 a faithful sample.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oscine.atlas.explorer.columns import packed
from oscine.atlas.pictures import look_text
from oscine.workspace.catalogue import DAY_MS, HEARD, Catalogue

MOST_SHOWN = 100_000
"""Events on the map."""
SEED = 0
HOUR_MS = 3_600_000
UNKNOWN_MS = np.iinfo(np.int64).min
BROKEN = ("damaged", "unreadable")
"""States of recordings of which something is lost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """The recordings that are present, R of them, by number.

    Attributes
    ----------
    numbers : np.ndarray of int64 [shape=(R,)]
    rates_hz, n_samples, channels : np.ndarray of int64 [shape=(R,)]
    starts_ms : np.ndarray of int64 [shape=(R,)]
        By the clocks there, since 1970; `UNKNOWN_MS` where that is not known.
    utc_starts_ms : np.ndarray of int64 [shape=(R,)]
        In UTC; `UNKNOWN_MS` where that is not known.
    sites, recorders : np.ndarray of int16 [shape=(R,)]
        Places in the names, -1 where there is none.
    site_names, recorder_names : list of str
    is_broken : np.ndarray of bool [shape=(R,)]
    is_heard : np.ndarray of bool [shape=(R,)]
    """

    numbers: np.ndarray
    rates_hz: np.ndarray
    n_samples: np.ndarray
    channels: np.ndarray
    starts_ms: np.ndarray
    utc_starts_ms: np.ndarray
    sites: np.ndarray
    recorders: np.ndarray
    site_names: list[str]
    recorder_names: list[str]
    is_broken: np.ndarray
    is_heard: np.ndarray

    @classmethod
    def of(cls, catalogue: Catalogue) -> Recordings:
        """Read them."""
        rows = catalogue.recording_places()
        columns = list(zip(*rows, strict=True)) or [()] * 9
        numbers, rates, samples, channels, starts, offsets, sites, recorders, states = columns
        utc = _times(starts)
        known = (utc != UNKNOWN_MS) & np.array([one is not None for one in offsets], bool)
        local = np.where(known, utc + 60_000 * np.array([one or 0 for one in offsets], int), 0)
        site_names, of_site = _named(sites)
        recorder_names, of_recorder = _named(recorders)
        return cls(
            numbers=np.array(numbers, np.int64),
            rates_hz=np.maximum(1, np.array(rates, np.int64)),
            n_samples=np.array(samples, np.int64),
            channels=np.array(channels, np.int64),
            starts_ms=np.where(known, local, UNKNOWN_MS),
            utc_starts_ms=utc,
            sites=of_site,
            recorders=of_recorder,
            site_names=site_names,
            recorder_names=recorder_names,
            is_broken=np.isin(np.array(states, str), BROKEN),
            is_heard=np.isin(np.array(states, str), HEARD),
        )

    @property
    def is_file(self) -> np.ndarray:
        """Whether each is a file, or the first channel of one [shape=(R,)]."""
        return self.channels <= 0

    @property
    def files(self) -> np.ndarray:
        """Which file each is of [shape=(R,)]: the channels of one follow its first."""
        return np.cumsum(self.is_file)

    @property
    def n_heard_files(self) -> int:
        """How many files were heard."""
        return int(np.count_nonzero(self.is_heard & self.is_file))


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """The events that are present, N of them, by number.

    Attributes
    ----------
    recordings : Recordings
    numbers : np.ndarray of int64 [shape=(N,)]
    rows : np.ndarray of int32 [shape=(N,)]
        Places of their recordings.
    starts : np.ndarray of int64 [shape=(N,)]
        Samples.
    types : np.ndarray of int16 [shape=(N,)]
        -1: not grouped.
    shown : np.ndarray of int64 [shape=(M,)]
        Places of the events on the map.
    """

    recordings: Recordings
    numbers: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    types: np.ndarray
    shown: np.ndarray

    @classmethod
    def of(cls, catalogue: Catalogue, most_shown: int = MOST_SHOWN) -> Overview:
        """Read all events, and choose those on the map."""
        recordings = Recordings.of(catalogue)
        places = catalogue.event_places()
        row_of = np.full(int(places[:, 1].max(initial=0)) + 1, -1, np.int32)
        inside = recordings.numbers < len(row_of)
        row_of[recordings.numbers[inside]] = np.flatnonzero(inside)
        rows = row_of[places[:, 1]]
        is_present = rows >= 0
        numbers, starts = places[is_present, 0], places[is_present, 2]
        rows, types = rows[is_present], places[is_present, 3].astype(np.int16)
        shown = sampled(types, rows, most_shown)
        return cls(
            recordings=recordings,
            numbers=numbers,
            rows=rows,
            starts=starts,
            types=types,
            shown=shown,
        )

    def points(self, catalogue: Catalogue, grouping: str) -> bytes:
        """Return what is known of the events on the map, with what is measured in them.

        The header tells what the numbers of sites and sound types mean, which may change between
        two answers: the names of the sites, and the fingerprint of the sound types.
        """
        shown, recordings = self.shown, self.recordings
        rows = self.rows[shown]
        traits = catalogue.event_traits(self.numbers[shown])
        stops, low, high, level, strength, x, y = traits.T
        local = self.local_ms[shown]
        is_known = local != UNKNOWN_MS
        day, within = np.divmod(np.where(is_known, local, 0), DAY_MS)
        counts = dict(zip(*(one.tolist() for one in self.sizes), strict=True))
        return packed(
            {
                "event": self.numbers[shown].astype(np.uint32),
                "x": x.astype(np.float32),
                "y": y.astype(np.float32),
                "type": self.types[shown],
                "strength": strength.astype(np.float32),
                "recording": recordings.numbers[rows].astype(np.uint32),
                "site": recordings.sites[rows],
                "hour": np.where(is_known, within / HOUR_MS, np.nan).astype(np.float32),
                "day": np.where(is_known, day, -1).astype(np.int32),
                "level": level.astype(np.float32),
                "low": low.astype(np.float32),
                "high": high.astype(np.float32),
                "duration": ((stops - self.starts[shown]) / recordings.rates_hz[rows]).astype(
                    np.float32
                ),
            },
            total=len(self.numbers),
            is_sample=len(shown) < len(self.numbers),
            sample=self.sample,
            grouping=grouping,
            sites=recordings.site_names,
            types={str(number): size for number, size in counts.items()},
        )

    @cached_property
    def sample(self) -> str:
        """Return what stands for the events on the map, in their order."""
        return hashlib.sha256(self.numbers[self.shown].tobytes()).hexdigest()[:32]

    @cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sound types, ascending, -1 among them, and how many events each has."""
        return np.unique(self.types, return_counts=True)

    @cached_property
    def n_recordings(self) -> dict[int, int]:
        """Return in how many recordings each sound type is; the channels of a file count once."""
        pairs = np.unique(self.types.astype(np.int64) * 2**32 + self.recordings.files[self.rows])
        types, counts = np.unique(pairs >> 32, return_counts=True)
        return dict(zip(types.tolist(), counts.tolist(), strict=True))

    @cached_property
    def local_ms(self) -> np.ndarray:
        """Return when each event began by the clocks there, or `UNKNOWN_MS` [shape=(N,)]."""
        return self._begun(self.recordings.starts_ms, np.arange(len(self.rows)))

    def utc_ms(self, which: np.ndarray) -> np.ndarray:
        """Return when some events began in UTC, or `UNKNOWN_MS` [shape=(n,)]."""
        return self._begun(self.recordings.utc_starts_ms, which)

    def of_type(self, number: int) -> np.ndarray:
        """Return the places of the events of a sound type [shape=(n,)]."""
        return np.flatnonzero(self.types == number)

    def looks(self, catalogue: Catalogue) -> dict[int, str]:
        """Return median length and band of the events of each sound type, as the atlas page does.

        Of all events, or above 100,000 of those on the map and of all events of types without one.
        """
        is_shown = np.zeros(len(self.numbers), bool)
        is_shown[self.shown] = True
        which = np.flatnonzero(is_shown | ~np.isin(self.types, self.types[self.shown]))
        stops, low_hz, high_hz = catalogue.event_traits(self.numbers[which]).T[:3]
        duration_s = (stops - self.starts[which]) / self.recordings.rates_hz[self.rows[which]]
        types, place = np.unique(self.types[which], return_inverse=True)
        by_type = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        return {
            number: look_text(
                *(float(np.median(one[some])) for one in (duration_s, low_hz, high_hz))
            )
            for number, some in zip(types.tolist(), by_type, strict=False)  # no types are one part
            if number >= 0
        }

    def where(self, numbers: np.ndarray, grouping: str, n_untimed: int) -> bytes:
        """Tell which points are among some events, given by number, ascending.

        The header tells the fingerprint of the sound types that were asked for, and how many events
        a condition on time could not ask.
        """
        is_met = np.isin(self.numbers[self.shown], numbers).astype(np.uint8)
        return packed(
            {"is_met": is_met}, sample=self.sample, grouping=grouping, n_untimed=n_untimed
        )

    def timeline(self) -> bytes:
        """Return what was recorded and heard in each hour of each day, by the clocks there.

        The channels of a file count once; an hour in which nothing was recorded is left out.
        """
        some = self.recordings
        is_timed = some.is_file & (some.starts_ms != UNKNOWN_MS)
        starts = some.starts_ms[is_timed]
        lasts_ms = np.maximum(1, 1000 * some.n_samples[is_timed] // some.rates_hz[is_timed])
        first, last = starts // HOUR_MS, (starts + lasts_ms - 1) // HOUR_MS
        n_hours = last - first + 1
        of = np.repeat(np.arange(len(starts)), n_hours)
        hours = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(n_hours) - n_hours, n_hours)
        shared = np.minimum((starts + lasts_ms)[of], (hours + 1) * HOUR_MS)
        shared = (shared - np.maximum(starts[of], hours * HOUR_MS)) / 1000
        shared *= some.is_heard[is_timed][of]
        broken = first[some.is_broken[is_timed]]
        heard = self.local_ms[self.local_ms != UNKNOWN_MS] // HOUR_MS
        every, place = np.unique(np.concatenate([hours, heard, broken]), return_inverse=True)
        parts = np.split(place, [len(hours), len(hours) + len(heard)])
        days, of_day = np.divmod(every, 24)
        return packed(
            {
                "day": days.astype(np.int32),
                "hour": of_day.astype(np.int16),
                "recorded_s": np.bincount(parts[0], shared, len(every)).astype(np.float32),
                "events": np.bincount(parts[1], minlength=len(every)).astype(np.uint32),
                "damaged": np.bincount(parts[2], minlength=len(every)).astype(np.uint32),
            },
            days=[int(days[0]), int(days[-1])] if len(days) else [],
            without_time=int(np.count_nonzero(some.is_file & ~is_timed)),
        )

    def _begun(self, starts_ms: np.ndarray, which: np.ndarray) -> np.ndarray:
        rows = self.rows[which]
        within_ms = np.rint(1000.0 * self.starts[which] / self.recordings.rates_hz[rows])
        begun = starts_ms[rows]
        return np.where(begun != UNKNOWN_MS, begun + within_ms.astype(np.int64), UNKNOWN_MS)


def sampled(types: np.ndarray, rows: np.ndarray, most: int) -> np.ndarray:
    """Choose events so that each sound type and each recording within it keep their shares.

    Sorted by sound type, recording and chance, every so manieth is taken.

    Parameters
    ----------
    types, rows : np.ndarray of int [shape=(N,)]
    most : int

    Returns
    -------
    np.ndarray of int64 [shape=(M,)]
        Places, ascending; all where there are no more than that.
    """
    n = len(types)
    if n <= most:
        return np.arange(n)
    by_chance = np.random.default_rng(SEED).permutation(n)
    keys = types.astype(np.int64) * 2**32 + rows
    order = by_chance[np.argsort(keys[by_chance], kind="stable")]
    return np.sort(order[(2 * np.arange(most) + 1) * n // (2 * most)])


def _times(values: tuple[int | None, ...]) -> np.ndarray:
    return np.array([UNKNOWN_MS if one is None else one for one in values], np.int64)


def _named(values: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    names = sorted({one for one in values if one})
    place = {name: number for number, name in enumerate(names)} | {"": -1}
    return names, np.array([place[one] for one in values], np.int16)
