"""What sounds like something, as one HTML file: pictures that can be played, the most alike first.

Plain frozen values come in, a file goes out that needs no network and nothing beside it. Called
by the step that looks for what is alike.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template

import numpy as np
from numpy.typing import NDArray

from oscine.atlas.pictures import (
    Box,
    PageExemplar,
    asset,
    sound_figure,
    summary_items,
    write_html,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageSound:
    """A sound, and what is said of it.

    Attributes
    ----------
    exemplar
        Its picture and sound.
    box
        Framed in the picture, or None.
    heading
        What stands out of the lines below it: a likeness, or a number.
    lines
        The others.
    """

    exemplar: PageExemplar
    box: Box | None
    heading: str
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSection:
    """Some sounds under a heading."""

    title: str
    hint: str
    sounds: Sequence[PageSound]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SimilarPage:
    """Everything that the page shows.

    Attributes
    ----------
    title
        Heading of the page.
    summary
        (name, value) pairs shown at the top.
    sections
        What was asked for, and what was found.
    band_hz
        (F,) centre frequency of each band of the spectrograms, ascending.
    notes
        Sentences that a reader should know of.
    """

    title: str
    summary: Sequence[tuple[str, str]]
    sections: Sequence[PageSection]
    band_hz: NDArray[np.floating]
    notes: Sequence[str] = ()


def write_similar(path: str | os.PathLike[str], page: SimilarPage) -> None:
    """Write the page as one HTML file that needs no network; it appears whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    html = Template(asset("similar.html")).substitute(
        title=escape(page.title),
        style=asset("page.css") + asset("similar.css"),
        summary=summary_items(page.summary),
        notes="".join(f'<p class="hint">{escape(note)}</p>' for note in page.notes),
        sections="".join(_section(section, page.band_hz) for section in page.sections),
        script=asset("playing.js"),
    )
    write_html(path, html)


def _section(section: PageSection, band_hz: NDArray[np.floating]) -> str:
    figures = "".join(
        sound_figure(
            sound.exemplar,
            sound.box,
            band_hz,
            [f"<b>{escape(sound.heading)}</b>", *map(escape, sound.lines)],
        )
        for sound in section.sounds
    )
    hint = f'<p class="hint">{escape(section.hint)}</p>' if section.hint else ""
    return (
        f'<section class="alike"><h2>{escape(section.title)}</h2>{hint}'
        f'<div class="exemplars">{figures}</div></section>'
    )
