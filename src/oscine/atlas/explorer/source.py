"""What the server asks for: the protocol of whatever holds an atlas, and the values it gives.

In come numbers of events, recordings and sound types, never paths; out come frozen values that
become JSON, or bytes that are sent as they are. `oscine.steps.exploring` answers from a workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Unanswered(Exception):
    """A question that gets no answer, and why.

    Attributes
    ----------
    status : int
        Of HTTP.
    why : str
        In a sentence.
    retry_after_s : int or None
        When to ask again, where that helps.
    """

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundType:
    """A sound type, as the legend shows it."""

    number: int
    name: str
    look: str
    size: int
    recordings: int
    colour: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A column of labels that people gave, and what it says."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Has:
    """What there is to show."""

    times: bool
    sites: bool
    model: bool
    layers: bool
    behaviour: bool
    labels: bool
    writing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas:
    """What a page needs first.

    ``key`` stands for what was heard, ``grouping`` for which event is in which sound type: what is
    said of a type by its number must tell in which grouping that was. ``events`` are all, ``shown``
    those on the map. ``missing`` names the steps that are to be done, in this order,
    before there are sound types and a map; ``workspace`` is where it lies, said to whoever asks
    from this computer without a token.
    """

    title: str
    version: str
    workspace: str
    missing: list[str]
    key: str
    grouping: str
    events: int
    shown: int
    recordings: int
    hours: float
    sites: list[str]
    recorders: list[str]
    labels: list[Label]
    types: list[SoundType]
    not_grouped: int
    frame_s: float
    band_hz: list[float]
    has: Has
    notes: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class OfRecording:
    """A recording: one channel of a file, or all mixed (channel -1).

    ``start_ms`` is in milliseconds of UTC since 1970, None where it is not known, or only from when
    the file was written; ``utc_offset_min`` is what was added to it on the clocks there. At most
    ``longest_s`` of its sound are given at once.
    """

    id: int
    path: str
    site: str
    recorder: str
    channel: int
    start_ms: int | None
    utc_offset_min: int | None
    sample_rate_hz: int
    n_samples: int
    duration_s: float
    longest_s: float
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRecording(OfRecording):
    """A recording, and how many events it has."""

    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingList:
    """Some recordings; ``next`` is the number to ask on after, None at the end."""

    rows: list[ListedRecording]
    total: int
    next: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventBox:
    """Where an event lies in its recording, and its sound type (-1: none)."""

    event: int
    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float
    type: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeRecording(OfRecording):
    """A recording with its events; ``band_hz`` are the middles of the bands of its picture.

    ``grouping``, here and below, is that of the sound types: see :class:`Atlas`.
    """

    is_present: bool
    has_sound: bool
    band_hz: list[float]
    grouping: str
    events: list[EventBox]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """All that is known of an event; places on the map are None where there is no map."""

    id: int
    recording: OfRecording
    start_sample: int
    stop_sample: int
    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float
    level_db: float
    start_ms: int | None
    utc_offset_min: int | None
    type: int
    grouping: str
    strength: float | None
    x: float | None
    y: float | None
    labels: dict[str, str]
    note: str
    is_present: bool
    has_sound: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Alike:
    """An event that is like what was asked for.

    ``percentile`` (0 to 1) is the share of unrelated pairs that are less alike, of ``pairs`` pairs;
    None where nothing can be said.
    """

    event: int
    likeness: float
    percentile: float | None
    pairs: int | None
    type: int
    recording: int
    path: str
    site: str
    start_s: float
    stop_s: float
    start_ms: int | None
    utc_offset_min: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Similar:
    """The most alike of other recordings, and of the same."""

    others: list[Alike]
    own: list[Alike]
    compared: int
    grouping: str
    why: str
    """Why there are no percentiles; empty where there are."""
    notes: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeCard:
    """All that is known of a sound type.

    Counts of hours and months are by the clocks there, of the events whose time is known.
    """

    number: int
    grouping: str
    name: str
    look: str
    size: int
    recordings: int
    sites: dict[str, int]
    hours_of_day: list[int]
    months: list[int]
    strength_median: float | None
    stability: float | None
    typical: list[int]
    random: list[int]
    first_ms: int | None
    last_ms: int | None
    names: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """What was done to sound types, the last first, and what stands for them now.

    ``words`` say what was done just now, or why nothing was; ``edit`` is the number of what was
    made or taken back, None where nothing was.
    """

    grouping: str
    edit: int | None
    words: str
    history: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wav:
    """A stretch of a recording as a WAV file."""

    data: bytes
    start_sample: int
    stop_sample: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which recordings are listed: those that meet all that is not None."""

    after: int = 0
    limit: int = 500
    ids: Sequence[int] | None = None
    site: str | None = None
    text: str | None = None
    state: str | None = None
    day: int | None = None
    """Days since 1970 by the clocks there."""


class Source(Protocol):
    """What can be asked of an atlas, from several threads at once.

    Every method may raise :class:`Unanswered`, or :class:`oscine.config.WrongArgument` for what
    cannot be meant. Bytes are columns (`oscine.atlas.explorer.columns`) unless it is said.

    Attributes
    ----------
    version : str
        Of Oscine.
    """

    version: str

    def atlas(self) -> Atlas:
        """Return what a page needs first."""
        ...

    def points(self) -> tuple[str, bytes]:
        """Return the events on the map, and what stands for these bytes."""
        ...

    def likeness(self, like: Sequence[int], unlike: Sequence[int]) -> bytes:
        """Return how much each point is like some events and unlike others."""
        ...

    def labelled(self, name: str) -> bytes:
        """Return what one column of labels says of each point."""
        ...

    def where(self, condition: str) -> bytes:
        """Tell which points meet a condition."""
        ...

    def event(self, number: int) -> Event:
        """Return all that is known of an event."""
        ...

    def strip(self, number: int, height: int) -> tuple[str, bytes]:
        """Return a PNG of an event, and what stands for these bytes."""
        ...

    def recordings(self, wanted: Wanted) -> RecordingList:
        """Return some recordings."""
        ...

    def recording(self, number: int) -> WholeRecording:
        """Return a recording with its events."""
        ...

    def spectrogram(self, number: int, start_s: float, stop_s: float | None, columns: int) -> bytes:
        """Return the picture of a stretch of a recording."""
        ...

    def waveform(self, number: int, start_s: float, stop_s: float | None, columns: int) -> bytes:
        """Return the extremes of a stretch of a recording."""
        ...

    def audio(
        self, number: int, start_sample: int, stop_sample: int | None, speed: float
    ) -> tuple[str, Wav]:
        """Return a stretch of a recording to be heard, and what stands for it."""
        ...

    def reconstruction(self, number: int, seed: int) -> bytes | str:
        """Return what the masked model makes of an event, or why it cannot be asked."""
        ...

    def similar(
        self, like: Sequence[int], unlike: Sequence[int], top: int, own: int, where: str | None
    ) -> Similar:
        """Return the events that are most like some events."""
        ...

    def similar_to(
        self, sound: bytes, start_s: float | None, stop_s: float | None, top: int
    ) -> Similar:
        """Return the events that are most like a sound file."""
        ...

    def sound_type(self, number: int, seed: int) -> TypeCard:
        """Return all that is known of a sound type; the seed draws its random events."""
        ...

    def timeline(self) -> bytes:
        """Return what was recorded and heard in each hour of each day."""
        ...

    def layers(self) -> dict[str, Any]:
        """Return what the evaluation says of layers, and the readouts a map can be drawn by."""
        ...

    def behaviour(self) -> dict[str, Any]:
        """Return what the join with behaviour says."""
        ...

    def draw_map(self, readout: str) -> None:
        """Begin to draw a map by a readout, such as ``layer-2``, unless there is one."""
        ...

    def drawn_map(self, readout: str) -> bytes | float:
        """Return a map, or how far it is."""
        ...

    def name(self, grouping: str, number: int, name: str, who: str) -> Edited:
        """Name a sound type of a grouping that is that of now; an empty name takes it back."""
        ...

    def merge(self, grouping: str, numbers: Sequence[int], who: str) -> Edited:
        """Make one sound type of several, of a grouping that is that of now."""
        ...

    def split(self, grouping: str, number: int, who: str) -> Edited:
        """Split a sound type where it falls apart, of a grouping that is that of now."""
        ...

    def undo(self, grouping: str, edit: int, who: str) -> Edited:
        """Take back an edit in a grouping that is that of now, if none was made since."""
        ...

    def history(self) -> Edited:
        """Return all edits."""
        ...
