"""Pictures of sounds that can be looked at and played, for pages that need no network.

In come log-mel frames and MP3; out come pieces of HTML that the style (``page.css``) and the script
(``playing.js``) of this room go with; pictures and sounds lie inside the page or beside it. The
atlas and the page of what is alike are made of them.
"""

import base64
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH_PER_FRAME_PX = 1.5
NARROWEST_PX, WIDEST_PX = 100, 560
FREQUENCY_TICKS_HZ = tuple(n * 10**power for power in range(1, 6) for n in (1, 2, 5))
# Shorter durations are written in milliseconds, lower frequencies in hertz.
SHORT_S, LOW_HZ = 0.2, 1000.0
# Share of a picture's height or width that two labels must keep between them.
TICK_SPACING = 0.12
# The colours of a spectrogram span at least 20 dB (in natural logarithms of power), so that
# near silence does not look like noise.
SMALLEST_SPAN = 2 * math.log(10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """Where an event lies in its recording: it is framed in the picture."""

    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageExemplar:
    """A picture of an event, with what lies around it, and its sound.

    Attributes
    ----------
    event_id
        The event shown; its extent is drawn into the picture.
    recording
        Path of the recording, as shown to the reader.
    start_s, stop_s
        Interval of the recording that picture and sound cover.
    spectrogram
        (T, F) natural logarithm of power; values that are not finite are left transparent.
    audio
        Bytes of an MP3 file, or None if there is nothing to play.
    audio_speed
        How many times as fast as it was recorded the MP3 plays.
    """

    event_id: str
    recording: str
    start_s: float
    stop_s: float
    spectrogram: NDArray[np.floating]
    audio: bytes | None
    audio_speed: float = 1.0


Keep = Callable[[str, bytes], str]
"""Told the name of a picture or sound and its bytes, gives the address it has for the page."""


def inside(name: str, content: bytes) -> str:
    """Keep a picture or sound inside the page."""
    kind = {"png": "image/png", "mp3": "audio/mpeg"}[name.rpartition(".")[2]]
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def beside(folder: Path) -> Keep:
    """Keep pictures and sounds as files of a folder, which lies where the page lies."""
    folder.mkdir()

    def keep(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        return f"{folder.name}/{name}"

    return keep


def write_html(path: str | os.PathLike[str], html: str) -> None:
    """Write a page; it appears whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    # File names need not be valid text; what cannot be written shows as a question mark.
    part.write_bytes(html.encode("utf-8", errors="replace"))
    part.replace(path)


def asset(name: str) -> str:
    """Return the text of a template, style or script of this room."""
    return (files("oscine.atlas") / name).read_text(encoding="utf-8")


def summary_items(summary: Sequence[tuple[str, str]]) -> str:
    """Write names and values as items of a ``dl``."""
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in summary
    )


def spectrogram_png(log_power: NDArray[np.floating]) -> bytes:
    """Draw a spectrogram, one pixel for each frame and band, low frequencies at the bottom.

    Black is the median and white the 99.8th percentile, or at least 20 dB above it.

    Parameters
    ----------
    log_power
        (T, F) natural logarithm of power; values that are not finite become transparent.

    Returns
    -------
    bytes
        A PNG file of T by F pixels.
    """
    from matplotlib import colormaps
    from PIL import Image

    picture = np.asarray(log_power, dtype=np.float64).T[::-1]
    finite = np.isfinite(picture)
    low, high = np.percentile(picture[finite], (50, 99.8)) if finite.any() else (0.0, 0.0)
    high = max(high, low + SMALLEST_SPAN)
    transparent = 255
    level = np.clip((np.where(finite, picture, low) - low) / (high - low), 0, 1)
    index = np.where(finite, np.round(level * (transparent - 1)), transparent).astype(np.uint8)

    colours = colormaps["magma"](np.linspace(0, 1, transparent + 1), bytes=True)[:, :3]
    image = Image.fromarray(index)
    image.putpalette(np.ascontiguousarray(colours).tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", transparency=transparent)
    return file.getvalue()


def sound_figure(
    exemplar: PageExemplar,
    box: Box | None,
    band_hz: NDArray[np.floating],
    lines: Sequence[str] | None = None,
    keep: Keep = inside,
) -> str:
    """Return a picture with its axes as HTML; where it has a sound, a click plays it.

    Parameters
    ----------
    exemplar
    box
        Framed in the picture.
    band_hz
        (F,) centre frequency of each band of the spectrogram, ascending.
    lines
        HTML of each line below the picture; if not given, the file's name and where it begins.
    keep
        Where picture and sound go.
    """
    duration_s = exemplar.stop_s - exemplar.start_s
    width_px = min(max(len(exemplar.spectrogram) * WIDTH_PER_FRAME_PX, NARROWEST_PX), WIDEST_PX)
    digits = 2 if duration_s >= SHORT_S else 3
    start, stop = (clock_text(at_s, digits) for at_s in (exemplar.start_s, exemplar.stop_s))
    where = escape(f"{exemplar.recording}, {start} to {stop}")
    source = keep(f"{exemplar.event_id}.png", spectrogram_png(exemplar.spectrogram))
    image = image_element(source, f"Spectrogram of {where}")
    inside = image + (_extent(exemplar, box, band_hz) if box else "")
    speed = ""
    if exemplar.audio is None:
        picture = f'<div class="picture">{inside}</div>'
    else:
        speed = _played_at(exemplar.audio_speed)
        label = f"Play {where}, {speed}" if speed else f"Play {where}"
        picture = (
            f'<button type="button" class="picture" aria-label="{label}" '
            f'data-event="{escape(exemplar.event_id)}" '
            f'data-duration="{duration_s / exemplar.audio_speed:.4f}">{inside}'
            '<span class="sign"></span><span class="cursor"></span></button>'
            f'<audio preload="none" src="{keep(f"{exemplar.event_id}.mp3", exemplar.audio)}">'
            "</audio>"
        )
    if lines is None:
        lines = [escape(Path(exemplar.recording).name), start]
    caption = "".join(f"<span>{line}</span>" for line in (*lines, speed) if line)
    return (
        f'<figure class="exemplar" style="--width:{width_px:.0f}px"><div class="axes">{picture}'
        f"{_frequency_ticks(band_hz)}{_time_ticks(duration_s, width_px)}</div>"
        f'<figcaption title="{where}">{caption}</figcaption></figure>'
    )


def _played_at(speed: float) -> str:
    """Say how fast a sound plays, where that is not as fast as it was."""
    if speed == 1:
        return ""
    return f"played at 1/{1 / speed:g} speed" if speed < 1 else f"played at {speed:g}× speed"


def _extent(exemplar: PageExemplar, box: Box, band_hz: NDArray[np.floating]) -> str:
    """Frame the event within its picture."""
    duration_s = exemplar.stop_s - exemplar.start_s
    left, right = (
        min(max((at_s - exemplar.start_s) / duration_s, 0), 1) for at_s in (box.start_s, box.stop_s)
    )
    bottom, top = (_height(at_hz, band_hz) for at_hz in (box.low_hz, box.high_hz))
    return (
        f'<span class="extent" style="left:{left:.2%};width:{right - left:.2%};'
        f'bottom:{bottom:.2%};height:{top - bottom:.2%}"></span>'
    )


def _height(at_hz: float, band_hz: NDArray[np.floating]) -> float:
    """Place a frequency in a picture, as a share of its height from the bottom."""
    middles = (np.arange(len(band_hz)) + 0.5) / len(band_hz)
    return float(np.interp(at_hz, band_hz, middles, left=0.0, right=1.0))


def _frequency_ticks(band_hz: NDArray[np.floating]) -> str:
    unit, unit_hz = ("kHz", 1000) if band_hz[-1] > LOW_HZ else ("Hz", 1)
    ticks, below = f'<span class="khz unit">{unit}</span>', -1.0
    for tick_hz in FREQUENCY_TICKS_HZ:
        height = _height(tick_hz, band_hz)
        if band_hz[0] <= tick_hz <= band_hz[-1] and height - below >= TICK_SPACING:
            ticks += f'<span class="khz" style="bottom:{height:.2%}">{tick_hz / unit_hz:g}</span>'
            below = height
    return ticks


def _time_ticks(duration_s: float, width_px: float) -> str:
    """Label round times, as many as have room."""
    step_s = next(
        step
        for power in range(-3, 6)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if step / duration_s * width_px >= 34
    )
    times_s = [number * step_s for number in range(int(duration_s / step_s + 1e-6) + 1)]
    unit, unit_s = ("s", 1) if duration_s >= SHORT_S else ("ms", 0.001)
    return "".join(
        f'<span class="second" style="left:{time_s / duration_s:.2%}">{time_s / unit_s:g}'
        f"{f' {unit}' if time_s == times_s[-1] else ''}</span>"
        for time_s in times_s
    )


def clock_text(seconds: float, digits: int = 2) -> str:
    """Write a time within a recording: ``m:ss.ss`` or ``h:mm:ss.ss``, with so many decimals."""
    parts = 10**digits
    minutes, rest = divmod(round(seconds * parts), 60 * parts)
    hours, minutes = divmod(minutes, 60)
    within_minute = f"{rest // parts:02d}.{rest % parts:0{digits}d}"
    return f"{hours}:{minutes:02d}:{within_minute}" if hours else f"{minutes}:{within_minute}"


def image_element(source: str, alt: str) -> str:
    """Make an image element; ``alt`` is HTML already."""
    return f'<img alt="{alt}" decoding="async" loading="lazy" src="{source}">'


def duration_text(seconds: float) -> str:
    """Write a duration in seconds, or in milliseconds where it is short."""
    return f"{seconds:.2f} s" if seconds >= SHORT_S else f"{1000 * seconds:.0f} ms"


def band_text(low_hz: float, high_hz: float) -> str:
    """Write a range of frequencies in kilohertz, or in hertz where it is low."""
    if high_hz < LOW_HZ:
        return f"{low_hz:.0f}–{high_hz:.0f} Hz"
    return f"{low_hz / 1000:.1f}–{high_hz / 1000:.1f} kHz"


def look_text(duration_s: float, low_hz: float, high_hz: float) -> str:
    """Write how long the events of a sound type are and where they lie, from their medians."""
    return f"{duration_text(duration_s)}, {band_text(low_hz, high_hz)}"


def count_text(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
