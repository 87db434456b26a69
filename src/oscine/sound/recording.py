"""Stretches of time in a recording, as integer samples at a stated rate.

In and out go plain values; every room that speaks of time in a recording uses them.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Half-open stretch of samples, `start <= sample < stop`.

    Attributes
    ----------
    start, stop : int
        First sample inside and first sample after, counted from the start of the file.
    sample_rate_hz : int
        The rate at which the samples are counted.

    Raises
    ------
    ValueError
        If not `0 <= start <= stop`, or if the rate is not positive.
    """

    start: int
    stop: int
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(
                f"an interval needs 0 <= start <= stop, not start {self.start}, stop {self.stop}"
            )
        if self.sample_rate_hz <= 0:
            raise ValueError(
                f"an interval needs a positive sample rate, not {self.sample_rate_hz} Hz"
            )

    @property
    def start_s(self) -> float:
        """Time of the first sample, in seconds."""
        return self.start / self.sample_rate_hz

    @property
    def stop_s(self) -> float:
        """Time of the first sample after the interval, in seconds."""
        return self.stop / self.sample_rate_hz

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.stop - self.start) / self.sample_rate_hz

    def at(self, sample_rate_hz: int) -> Self:
        """Give the same stretch in samples of another rate, to the nearest sample (halves up).

        An interval that holds a sample still holds one afterwards. Going to a higher rate and
        back gives the same interval again.
        """
        start = _at_rate(self.start, self.sample_rate_hz, sample_rate_hz)
        stop = _at_rate(self.stop, self.sample_rate_hz, sample_rate_hz)
        if self.stop > self.start:
            stop = max(stop, start + 1)
        return type(self)(start=start, stop=stop, sample_rate_hz=sample_rate_hz)

    def shared_samples(self, other: "Interval") -> int:
        """Count the samples that lie in both intervals.

        Raises
        ------
        ValueError
            If the other interval is counted at another rate.
        """
        if other.sample_rate_hz != self.sample_rate_hz:
            raise ValueError(
                f"intervals at {self.sample_rate_hz} Hz and {other.sample_rate_hz} Hz cannot be "
                "compared; bring them to one rate with Interval.at"
            )
        return max(0, min(self.stop, other.stop) - max(self.start, other.start))


def _at_rate(position: int, from_hz: int, to_hz: int) -> int:
    """Position in samples at another rate, nearest, halves up; integers, so it is exact."""
    return (2 * position * to_hz + from_hz) // (2 * from_hz)
