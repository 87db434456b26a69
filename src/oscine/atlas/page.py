"""The atlas as one HTML file: map, sound types that can be heard, training, skipped files.

Plain frozen values come in, a file goes out that needs no network, and nothing beside it unless
pictures and sounds are to lie there. Called by the steps that write the report and export it.
"""

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median
from string import Template

import numpy as np
from numpy.typing import NDArray

from oscine.atlas.pictures import (
    Box,
    Keep,
    PageExemplar,
    asset,
    beside,
    count_text,
    image_element,
    inside,
    look_text,
    sound_figure,
    summary_items,
    write_html,
)

# Twenty colours as far apart as OKLab allows at a lightness that shows on white and on black;
# a map with more types goes through them again with the next symbol.
PALETTE = (
    "#377ec1", "#ff8509", "#b60254", "#25d367", "#ee7ef6", "#277e09", "#80bbd3",
    "#8c39bc", "#9b6f52", "#e85883", "#9e9f13", "#2fa188", "#9e71fd", "#e09aaf",
    "#72577f", "#d63907", "#a879aa", "#2b7068", "#3b51d3", "#05a92e",
)  # fmt: skip
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross")

OPEN_TABLE_ROWS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PageEvent:
    """One event: where it lies on the map (``x``, ``y``), in time, and in frequency.

    ``cluster`` is -1 for an event that is not grouped; ``strength`` (0 to 1) says how firmly it
    belongs to its type; ``level_db`` is its level above the noise floor. ``began_ms`` is when it
    began, in milliseconds of UTC since 1970, or None where that is not known.
    """

    event_id: str
    x: float
    y: float
    cluster: int
    strength: float
    recording: str
    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float
    level_db: float
    began_ms: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCurve:
    """Loss and its two baselines at some steps of training; all of one length."""

    steps: Sequence[int] = ()
    loss: Sequence[float] = ()
    loss_mean: Sequence[float] = ()
    loss_interpolation: Sequence[float] = ()

    def __post_init__(self) -> None:
        lengths = {
            len(column)
            for column in (self.steps, self.loss, self.loss_mean, self.loss_interpolation)
        }
        if len(lengths) > 1:
            raise ValueError("steps, loss and both baselines must be of one length")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AtlasPage:
    """Everything that the page shows.

    Attributes
    ----------
    title
        Heading of the page.
    summary
        (name, value) pairs shown at the top.
    events
        All events, in any order.
    exemplars
        By sound type, the events that are shown of it, the most central first; -1: of those that
        are not grouped.
    band_hz
        (F,) centre frequency of each band of the exemplars' spectrograms, ascending.
    loss_curve
        Course of training; empty if there was none.
    reconstruction_png
        Picture of what the model was shown and what it drew, or None.
    skipped
        (path, state, reason) for each file that was not used in full.
    notes
        Sentences that a reader should know of.
    names
        Of the sound types that have one, by number.
    stability
        Of the sound types of which it is known, by number.
    """

    title: str
    summary: Sequence[tuple[str, str]]
    events: Sequence[PageEvent]
    exemplars: Mapping[int, Sequence[PageExemplar]]
    band_hz: NDArray[np.floating]
    loss_curve: LossCurve = field(default_factory=LossCurve)
    reconstruction_png: bytes | None = None
    skipped: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    stability: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for exemplar in (exemplar for group in self.exemplars.values() for exemplar in group):
            shape = exemplar.spectrogram.shape
            if len(shape) != 2 or shape[0] == 0 or shape[1] != len(self.band_hz):
                raise ValueError(
                    f"the spectrogram of event {exemplar.event_id} has shape {shape}; it must be "
                    f"(T, {len(self.band_hz)}) with T > 0, a column for each band"
                )
            if not exemplar.start_s < exemplar.stop_s:
                raise ValueError(f"the exemplar of event {exemplar.event_id} has no duration")


def write_page(
    path: str | os.PathLike[str], page: AtlasPage, *, sounds: Path | None = None
) -> None:
    """Write the page as one HTML file that needs no network.

    The same page gives the same bytes. The file appears whole or not at all.

    Parameters
    ----------
    path
    page
    sounds
        A folder to make beside it for pictures and sounds; without, they lie inside the page.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    write_html(path, _render(page, inside if sounds is None else beside(sounds)))


def _render(page: AtlasPage, keep: Keep) -> str:
    from plotly.offline import get_plotlyjs

    return Template(asset("page.html")).substitute(
        sources="data:" if keep is inside else "data: 'self' file:",
        title=escape(page.title),
        style=asset("page.css"),
        summary=summary_items(page.summary),
        map=_map_panel(page),
        types=_type_cards(page, keep),
        training=_training(page),
        skipped=_skipped(page.skipped),
        notes=_notes(page.notes),
        plotly=get_plotlyjs(),
        data=_script_json(_script_data(page)),
        script=asset("playing.js") + asset("page.js"),
    )


def _script_data(page: AtlasPage) -> dict[str, object]:
    """Gather what the script draws, in columns."""
    numbers = {
        name: number
        for number, name in enumerate(dict.fromkeys(event.recording for event in page.events))
    }

    def column(name: str, digits: int) -> list[float | None]:
        return _finite((getattr(event, name) for event in page.events), digits)

    return {
        "events": {
            "event_id": [event.event_id for event in page.events],
            "recording": [numbers[event.recording] for event in page.events],
            "cluster": [int(event.cluster) for event in page.events],
            "strength": column("strength", 2),
            "x": column("x", 4),
            "y": column("y", 4),
            "start_s": column("start_s", 4),
            "stop_s": column("stop_s", 4),
            "low_hz": column("low_hz", 1),
            "high_hz": column("high_hz", 1),
            "level_db": column("level_db", 1),
            "began_ms": [event.began_ms for event in page.events],
        },
        "recordings": list(numbers),
        "names": {str(label): name for label, name in page.names.items()},
        "palette": PALETTE,
        "symbols": SYMBOLS,
        "curve": {
            "steps": [int(step) for step in page.loss_curve.steps],
            "loss": _finite(page.loss_curve.loss, 6),
            "loss_mean": _finite(page.loss_curve.loss_mean, 6),
            "loss_interpolation": _finite(page.loss_curve.loss_interpolation, 6),
        },
    }


def _finite(values: Iterable[float], digits: int) -> list[float | None]:
    """Round numbers; None stands where JSON has none."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in values]


def _script_json(value: object) -> str:
    """Write JSON for a script element: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _map_panel(page: AtlasPage) -> str:
    if not page.events:
        return '<p class="hint">No events were found, so there is nothing to map.</p>'
    sizes = Counter(event.cluster for event in page.events)
    chips = "".join(
        f'<li><a class="chip" href="#type-{label}">{_swatch(label)}{_type_text(label, page)} '
        f"<small>{sizes[label]:,}</small></a></li>"
        for label in sorted(sizes.keys() - {-1})
    )
    if sizes[-1]:
        chips += (
            f'<li><a class="chip" href="#not-grouped">{_swatch(-1)}not grouped '
            f"<small>{sizes[-1]:,}</small></a></li>"
        )
    return (
        '<p class="hint">Each point is an event; events that sound alike lie close together. '
        "Distances between far groups mean little.</p>"
        '<div class="plot" id="map" role="img" aria-label="Map of events, coloured by sound type">'
        "</div>"
        '<p class="picked" id="picked" aria-live="polite">Point at an event to see where it is '
        "in which file; click it to see its sound type.</p>"
        '<ul class="legend" aria-label="Sound types by size">'
        '<li><button type="button" class="chip" id="show-all" hidden>show all</button></li>'
        f"{chips}</ul>"
        '<noscript><p class="hint">The map needs scripts to be allowed.</p></noscript>'
    )


def _swatch(label: int) -> str:
    if label < 0:
        return '<i class="swatch circle"></i>'
    symbol = SYMBOLS[label // len(PALETTE) % len(SYMBOLS)]
    return f'<i class="swatch {symbol}" style="--tint:{PALETTE[label % len(PALETTE)]}"></i>'


def _type_cards(page: AtlasPage, keep: Keep) -> str:
    members: defaultdict[int, list[PageEvent]] = defaultdict(list)
    for event in page.events:
        members[event.cluster].append(event)
    by_id = {event.event_id: event for event in page.events}
    hint = (
        "A sound type is an acoustic grouping, not a meaning: its events sound alike to the "
        "model. Types are numbered by size, as they were found. Click a picture to hear it; the "
        "frame in it is the event."
    )
    if page.stability:
        hint += (
            " Stability, 0 to 1, is how much of a type is found again without a third of the "
            "recordings: from 0.75 on it is stable, below 0.5 it may rest on few recordings or on "
            "chance."
        )

    def pictures(label: int) -> str:
        figures = "".join(
            sound_figure(one, _box(by_id.get(one.event_id)), page.band_hz, keep=keep)
            for one in page.exemplars.get(label, ())
        )
        return f'<div class="exemplars">{figures}</div>' if figures else ""

    cards = "".join(
        _type_card(label, page, members[label], pictures(label))
        for label in sorted(members.keys() - {-1})
    )
    if not cards:
        cards = "<p>No sound types were found.</p>"
    if members[-1]:
        cards += _not_grouped_card(members[-1], len(page.events), pictures(-1))
    return f'<p class="hint">{hint}</p>{cards}'


def _type_card(label: int, page: AtlasPage, events: Sequence[PageEvent], pictures: str) -> str:
    stability = page.stability.get(label)
    stable = "" if stability is None else f", stability {stability:.2f}"
    return (
        f'<article class="type" id="type-{label}"><header>{_swatch(label)}'
        f"<h3>Type {_type_text(label, page)}</h3><p>{_describe(events)}{stable}</p>"
        f'<button type="button" class="show" aria-label="Show type {label} on the map">'
        f"show on map</button></header>{pictures}</article>"
    )


def _type_text(label: int, page: AtlasPage) -> str:
    """Write number and name of a type, as HTML."""
    name = page.names.get(label)
    return f"{label}: {escape(name)}" if name else f"{label}"


def _box(event: PageEvent | None) -> Box | None:
    if event is None:
        return None
    return Box(
        start_s=event.start_s,
        stop_s=event.stop_s,
        low_hz=event.low_hz,
        high_hz=event.high_hz,
    )


def _not_grouped_card(events: Sequence[PageEvent], n_events: int, pictures: str) -> str:
    share = len(events) / n_events
    return (
        f'<article class="type" id="not-grouped"><header>{_swatch(-1)}<h3>Not grouped</h3>'
        f"<p>{_describe(events)}</p>"
        '<button type="button" class="show" aria-label="Show events not grouped on the map">'
        "show on map</button></header>"
        f"<p>{share:.0%} of the events shown are like too few others to form a type.</p>{pictures}"
        "</article>"
    )


def _describe(events: Sequence[PageEvent]) -> str:
    """Sum up some events in a line of HTML: counts and medians."""
    n_recordings = len({event.recording for event in events})
    duration_s = median(event.stop_s - event.start_s for event in events)
    look = look_text(
        duration_s, median(e.low_hz for e in events), median(e.high_hz for e in events)
    )
    return (
        f"{count_text(len(events), 'event')} in {count_text(n_recordings, 'recording')}, "
        f"median {look}"
    )


def _training(page: AtlasPage) -> str:
    figures = ""
    if page.loss_curve.steps:
        figures += (
            '<figure><div class="plot" id="curve" role="img" '
            'aria-label="Loss of the model and of two baselines over the steps of training">'
            '</div><figcaption class="hint">Loss on hidden patches, with two baselines on the '
            "same patches. Below both, the model has learned more than to blur."
            "</figcaption></figure>"
        )
    if page.reconstruction_png is not None:
        image = image_element(
            inside("reconstruction.png", page.reconstruction_png),
            "Spectrograms, what the model saw of them, what it drew",
        )
        figures += (
            f'<figure>{image}<figcaption class="hint">Each clip as it is, what the model saw of '
            "it, and what it drew.</figcaption></figure>"
        )
    if not figures:
        return '<p class="hint">No training was recorded for this model.</p>'
    return f'<div class="training">{figures}</div>'


def _skipped(skipped: Sequence[tuple[str, str, str]]) -> str:
    if not skipped:
        return "<p>None skipped.</p>"
    states = Counter(state for _, state, _ in skipped)
    counts = "".join(
        f"<li><b>{number:,}</b> {escape(state)}</li>" for state, number in states.most_common()
    )
    rows = "".join(
        f'<tr><td>{escape(path)}</td><td class="state">{escape(state)}</td>'
        f"<td>{escape(reason)}</td></tr>"
        for path, state, reason in skipped
    )
    is_open = " open" if len(skipped) <= OPEN_TABLE_ROWS else ""
    return (
        f'<ul class="counts">{counts}</ul><details{is_open}>'
        f"<summary>{count_text(len(skipped), 'file')}, with the reason</summary>"
        '<div class="table"><table><thead><tr><th scope="col">File</th><th scope="col">State</th>'
        f'<th scope="col">Reason</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<section aria-labelledby="notes-heading"><h2 id="notes-heading">Notes</h2>'
        f'<ul class="notes">{items}</ul></section>'
    )
