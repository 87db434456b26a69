"""Answers about a finished workspace, for the atlas in the browser.

In come numbers of events, recordings and sound types, from several threads at once; out come the
values of `oscine.atlas.explorer.source`. The workspace is only read, but for what people do to
sound types, each of which is one transaction. `explore` serves it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, LifoQueue
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oscine import __version__
from oscine.atlas.explorer.access import log
from oscine.atlas.explorer.columns import packed
from oscine.atlas.explorer.drawing import PAD_FRAMES, levels, stretch, strip_png
from oscine.atlas.explorer.hearing import checked, extremes, longest_s, wav_of
from oscine.atlas.explorer.overview import HOUR_MS, UNKNOWN_MS, Overview, sampled
from oscine.atlas.explorer.source import (
    Alike,
    Atlas,
    Edited,
    Event,
    EventBox,
    Has,
    Label,
    ListedRecording,
    OfRecording,
    RecordingList,
    Similar,
    SoundType,
    TypeCard,
    Unanswered,
    Wanted,
    Wav,
    WholeRecording,
)
from oscine.atlas.page import PALETTE
from oscine.config import OscineConfig, WrongArgument, fingerprint
from oscine.picture.tape import Tape
from oscine.search.exact import pair_likeness
from oscine.sound.annotations import LabelBook, Matched, labels_of_events
from oscine.sound.clips import unchanged_file
from oscine.steps.apart import Apart, Busy, Lost
from oscine.steps.editing import (
    EditReport,
    edit_history,
    merge_sound_types,
    name_sound_type,
    split_sound_type,
    undo_edit,
)
from oscine.steps.examples import Archive
from oscine.steps.found import SimilarEvent, SimilarReport
from oscine.steps.importing import placed_annotations
from oscine.steps.listening import (
    evaluation_fingerprint,
    join_fingerprint,
    places_fingerprint,
)
from oscine.steps.modelling import INDIVIDUALS, LAYER, hear, map_by, redraw
from oscine.steps.naming import OLDER, grouping_fingerprint, grouping_of, sound_types
from oscine.steps.searching import alike, query_vector
from oscine.steps.shared import alarms_of, asked_config, tape_of
from oscine.workspace.catalogue import DAY_MS, MODIFICATION, Catalogue, EventRow, RecordingRow
from oscine.workspace.edits import TYPES
from oscine.workspace.folder import Workspace

GROUPING = ("pretrain", "embed", "cluster")
"""Steps that lead to sound types and a map, in their order."""
CATALOGUES = 12
"""Connections that are kept open: as many as quick questions at once."""
WHERE_S = 10.0
"""A condition that takes longer is broken off."""
HEAR_S, REDRAW_S, MAP_S = 180.0, 180.0, 1800.0
"""What takes the model longer is ended."""
MOST_MAPPED = 5000
"""Events on the map by another readout."""
KEPT_BYTES = 32 * 2**20
"""Of sounds that were asked for: a browser asks for each in parts. One may be larger."""
TYPICAL, RANDOM = 5, 10
MOST_LABELS = 1000
"""Different values of a column of labels; one with more is no category."""


class WorkspaceSource:
    """Answers about a workspace from several threads; see `oscine.atlas.explorer.source.Source`.

    Parameters
    ----------
    workspace : Workspace

    Raises
    ------
    ValueError
        It holds no events yet, or a file is damaged.
    """

    version = __version__

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.config: OscineConfig = asked_config(workspace, (), None, "picture")[1]
        self._catalogues = _Catalogues(workspace)
        with self._catalogues.one() as catalogue:
            if not catalogue.last("events"):
                raise ValueError(
                    f"{workspace.folder} holds no events yet: run `oscine learn ARCHIVE "
                    f"-w {workspace.folder}` first"
                )
            tape_of(workspace, catalogue, self.config)
        self._sounds = _Sounds()
        self._renewing = threading.Lock()
        self._asking = threading.Lock()
        self._now: _Now | None = None
        self._lent: tuple[_Now, Archive] | None = None
        self._apart = Apart()
        self._maps: dict[tuple[str, str], bytes | float | Unanswered] = {}

    def warm(self) -> None:
        """Make ready what most questions need; what is wrong is said to whoever asks."""
        with suppress(Unanswered):
            self._state()

    def close(self) -> None:
        """Close all files, and end what works apart."""
        self._apart.close()
        with self._asking:
            self._give_back()
        self._catalogues.close()

    # Of the map

    def atlas(self) -> Atlas:
        """Return what a page needs first, renewed if the workspace has changed."""
        now = self._state(is_renewed=True)
        overview = now.overview
        types = self._types(now)
        counts = dict(zip(*(one.tolist() for one in overview.sizes), strict=True))
        reports = self.workspace.reports
        has_times = bool((overview.recordings.starts_ms != UNKNOWN_MS).any())
        return Atlas(
            title=f"Sound atlas of {self.workspace.folder.resolve().name}",
            version=self.version,
            workspace=str(self.workspace.folder.resolve()),
            missing=now.missing,
            key=now.key,
            grouping=now.grouping,
            events=len(overview.numbers),
            shown=len(overview.shown),
            recordings=overview.recordings.n_heard_files,
            hours=now.hours,
            sites=overview.recordings.site_names,
            recorders=overview.recordings.recorder_names,
            labels=[Label(name=name, values=values) for name, values in now.labels.values.items()],
            types=types,
            not_grouped=counts.get(-1, 0),
            frame_s=1 / self.config.picture.frames_per_s,
            band_hz=self._band_hz,
            has=Has(
                times=has_times,
                sites=bool(overview.recordings.site_names),
                model=now.has_model,
                layers=(reports / "evaluation.json").exists(),
                behaviour=(reports / "join.json").exists(),
                labels=bool(now.labels.values),
                writing=os.access(self.workspace.catalogue_file, os.W_OK),
            ),
            notes=now.notes,
        )

    def points(self) -> tuple[str, bytes]:
        """Return the events on the map, renewed if the workspace has changed."""
        now = self._state(is_renewed=True)
        return now.points_tag, now.points

    def likeness(self, like: Sequence[int], unlike: Sequence[int]) -> bytes:
        """Return the cosine between each point and what stands for some events."""
        now = self._state()
        with self._archive(now) as archive:
            liked = [archive.event(number) for number in like]
            unliked = [archive.event(number) for number in unlike]
            query = query_vector(liked, unliked)
            rows = now.overview.numbers[now.overview.shown] - 1
            found = np.full(len(rows), np.nan, np.float32)
            held = np.flatnonzero(rows < archive.vectors.n_rows)
            for start in range(0, len(held), 2**14):
                some = held[start : start + 2**14]
                vectors = archive.vectors.take(rows[some])
                zeros = np.zeros(len(some), np.int64)
                found[some] = pair_likeness(query[None], zeros, vectors, np.arange(len(some)))
        return packed({"cosine": found}, sample=now.overview.sample, grouping=now.grouping)

    def labelled(self, name: str) -> bytes:
        """Return the place of each point's label among the values of a column."""
        now = self._state()
        names = now.labels.values.get(name)
        if names is None:
            raise Unanswered(404, "there are no labels of this name")
        place = {value: number for number, value in enumerate(names)}
        numbers = now.overview.numbers[now.overview.shown].tolist()
        with self._catalogues.one() as catalogue:
            events = catalogue.some_events(numbers)
        said = now.labels.of_events([events[number] for number in numbers], name)
        values = [-1 if one is None else place[one] for one in said]
        columns = {"value": np.array(values, np.int16)}
        return packed(columns, values=names, sample=now.overview.sample, grouping=now.grouping)

    def where(self, condition: str) -> bytes:
        """Tell which points meet a condition."""
        now = self._state()
        with (
            self._catalogues.one() as catalogue,
            catalogue.unchanged(),
            _in_time(catalogue),
        ):
            met, grouping = catalogue.events_where(condition), _grouping(catalogue)
            n_untimed = catalogue.n_untimed(condition)
        return now.overview.where(met, grouping, n_untimed)

    def event(self, number: int) -> Event:
        """Return all that is known of an event."""
        now = self._state()
        with self._catalogues.one() as catalogue, catalogue.unchanged():
            event, recording = _event(catalogue, number)
            kind, grouping = catalogue.some_sound_types([number]).get(number), _grouping(catalogue)
        about = _about(recording)
        rate = recording.sample_rate_hz
        start_ms = None
        if about["start_ms"] is not None:
            start_ms = about["start_ms"] + round(1000 * event.start_sample / rate)
        labels = {name: now.labels.of_events([event], name)[0] for name in now.labels.values}
        return Event(
            id=number,
            recording=OfRecording(**about),
            start_sample=event.start_sample,
            stop_sample=event.stop_sample,
            start_s=event.start_sample / rate,
            stop_s=event.stop_sample / rate,
            low_hz=event.low_hz,
            high_hz=event.high_hz,
            level_db=event.level_db,
            start_ms=start_ms,
            utc_offset_min=about["utc_offset_min"],
            type=-1 if kind is None else kind.cluster,
            grouping=grouping,
            strength=None if kind is None else kind.strength,
            x=None if kind is None else kind.map_x,
            y=None if kind is None else kind.map_y,
            labels={name: said for name, said in labels.items() if said is not None},
            note=f"its recording is {recording.state}: {recording.reason}"
            if recording.reason
            else "",
            is_present=bool(recording.is_present),
            has_sound=_sound(recording) is not None,
        )

    def strip(self, number: int, height: int) -> tuple[str, bytes]:
        """Draw an event, with a little of what surrounds it."""
        now = self._state()
        with self._catalogues.one() as catalogue:
            event, recording = _event(catalogue, number)
        now.check(recording)
        start = recording.tape_row + max(0, event.start_frame - PAD_FRAMES)
        stop = recording.tape_row + min(recording.n_frames, event.stop_frame + PAD_FRAMES)
        png = strip_png(now.tape, start, stop, height, recording.n_valid_bands)
        return f"{now.key}-{number}-{height}", png

    # Of recordings

    def recordings(self, wanted: Wanted) -> RecordingList:
        """Return some recordings."""
        with self._catalogues.one() as catalogue:
            one_more = replace(wanted, limit=wanted.limit + 1)
            found, total = catalogue.list_recordings(**asdict(one_more))
        shown = found[: wanted.limit]
        rows = [ListedRecording(**_about(row), events=n_events) for row, n_events in shown]
        return RecordingList(
            rows=rows, total=total, next=rows[-1].id if len(found) > len(rows) else None
        )

    def recording(self, number: int) -> WholeRecording:
        """Return a recording with its events."""
        with self._catalogues.one() as catalogue, catalogue.unchanged():
            row = _recording(catalogue, number)
            events = catalogue.events_of(number)
            types = catalogue.sound_types_of(event.event_id for event in events)
            grouping = _grouping(catalogue)
        rate = row.sample_rate_hz
        return WholeRecording(
            **_about(row),
            is_present=bool(row.is_present),
            has_sound=_sound(row) is not None,
            band_hz=self._band_hz,
            grouping=grouping,
            events=[
                EventBox(
                    event=one.event_id,
                    start_s=one.start_sample / rate,
                    stop_s=one.stop_sample / rate,
                    low_hz=one.low_hz,
                    high_hz=one.high_hz,
                    type=types.get(one.event_id, -1),
                )
                for one in events
            ],
        )

    def spectrogram(self, number: int, start_s: float, stop_s: float | None, columns: int) -> bytes:
        """Return the levels of a stretch of a recording."""
        now = self._state()
        with self._catalogues.one() as catalogue:
            row = _recording(catalogue, number)
        if not row.n_frames:
            raise Unanswered(404, f"nothing of this recording was heard: {row.state} {row.reason}")
        now.check(row)
        frame_s = 1 / self.config.picture.frames_per_s
        first = int(min(start_s / frame_s + 1e-6, row.n_frames))
        last = row.n_frames
        if stop_s is not None:
            last = min(last, int(np.ceil(min(stop_s / frame_s, row.n_frames) - 1e-6)))
        if not first < last:
            raise Unanswered(
                422, f"this is no stretch of the recording, which is {row.duration_s:.2f} s long"
            )
        return stretch(now.tape, row.tape_row, (first, last), columns, frame_s, self._band_hz)

    def waveform(self, number: int, start_s: float, stop_s: float | None, columns: int) -> bytes:
        """Return the extremes of a stretch of a recording."""
        file, row = self._file(number)
        rate = row.sample_rate_hz
        stop = row.n_samples if stop_s is None else round(stop_s * rate)
        interval = checked(round(start_s * rate), stop, row.n_samples, rate, row.n_channels)
        return extremes(file, interval, _channel(row), columns)

    def audio(
        self, number: int, start_sample: int, stop_sample: int | None, speed: float
    ) -> tuple[str, Wav]:
        """Return a stretch of a recording to be heard, and what stands for it."""
        file, row = self._file(number)
        stop = row.n_samples if stop_sample is None else stop_sample
        interval = checked(start_sample, stop, row.n_samples, row.sample_rate_hz, row.n_channels)
        tag = f"{row.content_key}-{interval.start}-{interval.stop}-{speed}"
        wav = self._sounds.get(tag, lambda: wav_of(file, interval, _channel(row), speed))
        return tag, wav

    def timeline(self) -> bytes:
        """Return what was recorded and heard in each hour of each day."""
        return self._state().overview.timeline()

    # Of what is alike

    def similar(
        self, like: Sequence[int], unlike: Sequence[int], top: int, own: int, where: str | None
    ) -> Similar:
        """Return the events that are most like some events."""
        with self._archive(self._state()) as archive:
            liked = [archive.event(number) for number in like]
            unliked = [archive.event(number) for number in unlike]
            with nullcontext() if where is None else _in_time(archive.catalogue):
                report = alike(archive, liked, unliked, top=top, own=own, where=where)
            return _similar(report, archive.catalogue, len(like) + len(unlike))

    def similar_to(
        self, sound: bytes, start_s: float | None, stop_s: float | None, top: int
    ) -> Similar:
        """Return the events that are most like a sound file, which is heard in another process."""
        with TemporaryDirectory(prefix="oscine-heard-") as name, self._modelled():
            file = Path(name) / f"sound-{token_hex(8)}"  # a name that no word of a report is
            file.write_bytes(sound)
            report = self._apart.run(
                hear, self.workspace.folder, file, start_s, stop_s, top, limit_s=HEAR_S
            )
        with self._catalogues.one() as catalogue:
            return _similar(report, catalogue, 1)

    def reconstruction(self, number: int, seed: int) -> bytes | str:
        """Return what the masked model makes of a window around an event."""
        with self._catalogues.one() as catalogue:
            _, recording = _event(catalogue, number)
        if not _has_torch():
            return "PyTorch is not installed here"
        if not self._state().has_model:
            return "there is no model yet: run `oscine pretrain`"
        with self._modelled():
            found = self._apart.run(redraw, self.workspace.folder, number, seed, limit_s=REDRAW_S)
        frame_s = 1 / self.config.picture.frames_per_s
        return packed(
            {
                "seen": found.recorded,
                "drawn": found.drawn,
                "hidden": found.is_hidden.astype(np.uint8),
            },
            available=True,
            start_s=found.start_frame * frame_s,
            stop_s=(found.start_frame + len(found.recorded)) * frame_s,
            n_frames=found.recorded.shape[0],
            n_bands=found.recorded.shape[1],
            n_valid_bands=recording.n_valid_bands,
            **levels(self._band_hz),
        )

    # Of sound types

    def sound_type(self, number: int, seed: int) -> TypeCard:
        """Return all that is known of a sound type."""
        now = self._state()
        with self._catalogues.one() as catalogue:
            now = self._state(is_renewed=_grouping(catalogue) != now.grouping)
        overview = now.overview
        which = overview.of_type(number)
        if not len(which):
            raise Unanswered(404, f"there is no sound type {number}")
        numbers = overview.numbers[which]
        local = overview.local_ms[which]
        local = local[local != UNKNOWN_MS]
        months = local.astype("M8[ms]").astype("M8[M]").astype(np.int64) % 12
        utc = overview.utc_ms(which)
        utc = utc[utc != UNKNOWN_MS]
        sites = overview.recordings.sites[overview.rows[which]]
        names = overview.recordings.site_names
        exemplars = np.array(now.exemplars.get(number, []), np.int64)
        n_of_site = np.bincount(sites[sites >= 0], minlength=len(names)).tolist()
        with self._catalogues.one() as catalogue:
            strengths = catalogue.event_traits(numbers)[:, 4]
            named = [
                {"name": one.facts["name"], "who": one.who, "made_ms": one.made_ms}
                for one in catalogue.edits()
                if one.kind == "name"
                and one.undone_ms is None
                and number in now.fits.get(one.edit_id, ())
            ]
        chosen = np.random.default_rng(seed).permutation(len(numbers))[:RANDOM]
        return TypeCard(
            number=number,
            grouping=now.grouping,
            name=now.names.get(number, ""),
            look=now.looks.get(number, ""),
            size=len(numbers),
            recordings=overview.n_recordings[number],
            sites={name: n for name, n in zip(names, n_of_site, strict=True) if n},
            hours_of_day=np.bincount(local % DAY_MS // HOUR_MS, minlength=24).tolist(),
            months=np.bincount(months, minlength=12).tolist(),
            strength_median=float(np.median(strengths)),
            stability=now.stability.get(number),
            typical=exemplars[np.isin(exemplars, numbers)][:TYPICAL].tolist(),
            random=np.sort(numbers[chosen]).tolist(),
            first_ms=int(utc.min()) if len(utc) else None,
            last_ms=int(utc.max()) if len(utc) else None,
            names=named,
        )

    def name(self, grouping: str, number: int, name: str, who: str) -> Edited:
        """Name a sound type."""
        return self._edit(name_sound_type, number, name, grouping=grouping, who=who)

    def merge(self, grouping: str, numbers: Sequence[int], who: str) -> Edited:
        """Make one sound type of several."""
        return self._edit(merge_sound_types, numbers, grouping=grouping, who=who)

    def split(self, grouping: str, number: int, who: str) -> Edited:
        """Split a sound type where it falls apart."""
        return self._edit(split_sound_type, number, grouping=grouping, who=who)

    def undo(self, grouping: str, edit: int, who: str) -> Edited:
        """Take back an edit."""
        return self._edit(undo_edit, edit, grouping=grouping, who=who)

    def history(self) -> Edited:
        """Return all edits, the last first."""
        return self._edits(None, "")

    def _edit(
        self, edit: Callable[..., EditReport], *given: Any, who: str, grouping: str
    ) -> Edited:
        with self._unanswered(409):  # another run holds the workspace, or it is stale
            report = edit(self.workspace.folder, *given, who=who.strip() or None, grouping=grouping)
        return self._edits(report.edit, report.words)

    def _edits(self, edit: int | None, words: str) -> Edited:
        with self._unanswered(409):  # there are no sound types yet
            history = [asdict(one) for one in edit_history(self.workspace.folder).history]
        grouping = self._state(is_renewed=True).grouping
        return Edited(grouping=grouping, edit=edit, words=words, history=history[::-1])

    # Of reports

    def layers(self) -> dict[str, Any]:
        """Return what the evaluation says of layers."""
        depth = self.config.model.depth
        maps = [
            {
                "readout": f"{LAYER}{layer}",
                "name": f"layer {layer}" if layer else "before the first layer",
            }
            for layer in range(depth + 1)
        ]
        maps.append({"readout": INDIVIDUALS, "name": "individuals"})
        report = self._report("evaluation.json")
        found = None if report is None else report.get("layers")
        if found is None:
            why = "labels say what each layer knows: run `oscine evaluate`"
            return {"available": False, "why": why, "maps": maps}
        said = {name: found.get(name) for name in ("layers", "scores", "verdict", "problems")}
        is_stale = self._is_stale("evaluate", evaluation_fingerprint)
        return {"available": True, "why": "", "maps": maps, **said, "is_stale": is_stale}

    def behaviour(self) -> dict[str, Any]:
        """Return what the join with behaviour says."""
        from oscine.behaviour.clocks import hours_text
        from oscine.behaviour.words import untested_text

        report = self._report("join.json")
        if report is None:
            return {"available": False, "why": "no log was joined yet: run `oscine join`"}
        association = report.get("association") or {}
        names = ("verdict", "findings", "limits", "calls", "observed", "unobserved", "without_time")
        names += ("without_log", "sessions", "hours", "tested", "found", "names", "methods")
        made = (self.workspace.reports / "join.json").stat().st_mtime
        pairs = association.get("pairs", [])
        whys = [pair["why"] for pair in pairs if pair.get("test") == "not tested"]
        hours = report.get("hours")
        return {
            "available": True,
            "why": "",
            **{name: report.get(name) for name in names},
            "watched": hours_text(hours) if hours else "",
            "pairs": pairs,
            "untested": untested_text(whys),
            "made_ms": round(1000 * made),
            "is_stale": self._is_stale("join", join_fingerprint),
        }

    def draw_map(self, readout: str) -> None:
        """Begin to draw a map by a readout, unless there is one."""
        depth = self.config.model.depth
        if readout != INDIVIDUALS and int(readout.removeprefix(LAYER)) > depth:
            raise Unanswered(404, f"the model has layers 0 to {depth}")
        now = self._state()
        key = now.model, readout
        if isinstance(self._maps.get(key), bytes | float):
            return
        overview = now.overview
        shown = sampled(overview.types, overview.rows, MOST_MAPPED)
        numbers = overview.numbers[shown]

        def done(xy: np.ndarray | None, error: Exception | None) -> None:
            if xy is None:
                said = self._words(error) if isinstance(error, ValueError | Lost) else "it failed"
                log.warning("the map by %s was not drawn: %s", readout, error)
                self._maps[key] = Unanswered(422, f"the map cannot be drawn: {said}")
                return
            columns = {"event": numbers.astype(np.uint32), "x": xy[:, 0], "y": xy[:, 1]}
            self._maps[key] = packed(columns, readout=readout)

        self._maps.pop(key, None)  # why it was not drawn before
        with self._modelled():
            self._apart.begin(
                map_by,
                self.workspace.folder,
                numbers.tolist(),
                readout,
                limit_s=MAP_S,
                tell=lambda share: self._maps.update({key: share}),
                done=done,
            )
        self._maps.setdefault(key, 0.0)

    def drawn_map(self, readout: str) -> bytes | float:
        """Return a map by a readout, or how far it is."""
        found = self._maps.get((self._state().model, readout))
        if found is None:
            raise Unanswered(404, "this map was not asked for: POST /api/maps")
        if isinstance(found, Unanswered):
            raise found
        return found

    # What the answers are made of

    @cached_property
    def _band_hz(self) -> list[float]:
        return [round(one, 2) for one in self.config.picture.band_hz]

    def _state(self, *, is_renewed: bool = False) -> _Now:
        """Return what is known of the workspace at once; made anew if it has changed."""
        now = self._now
        if now is not None and not is_renewed:
            return now
        with self._renewing, self._catalogues.one() as catalogue, catalogue.unchanged():
            stands_for = _stands_for(self.workspace, catalogue)
            if self._now is None or self._now.stands_for != stands_for:
                with self._unanswered(409):
                    self._now = _Now.of(self.workspace, catalogue, self.config, stands_for)
            return self._now

    def _types(self, now: _Now) -> list[SoundType]:
        numbers, sizes = (one.tolist() for one in now.overview.sizes)
        return [
            SoundType(
                number=number,
                name=now.names.get(number, ""),
                look=now.looks.get(number, ""),
                size=size,
                recordings=now.overview.n_recordings[number],
                colour=PALETTE[number % len(PALETTE)],
            )
            for number, size in zip(numbers, sizes, strict=True)
            if number >= 0
        ]

    @contextmanager
    def _modelled(self) -> Iterator[None]:
        """Say in words why the model does not answer."""
        try:
            yield
        except Busy as error:
            said = "the model is at work for somebody else: ask again in a moment"
            raise Unanswered(503, said, 5) from error
        except Lost as error:
            raise Unanswered(422, f"this is too much: {error}") from error
        except ValueError as error:
            raise Unanswered(422, self._words(error)) from error

    @contextmanager
    def _unanswered(self, status: int) -> Iterator[None]:
        """Say in words what cannot be done; what cannot be meant says so itself."""
        try:
            yield
        except WrongArgument:
            raise
        except ValueError as error:
            raise Unanswered(status, self._words(error)) from error

    def _words(self, error: Exception) -> str:
        """Return what is wrong, without saying where the workspace lies."""
        return str(error).replace(str(self.workspace.folder), "the workspace")

    @contextmanager
    def _archive(self, now: _Now) -> Iterator[Archive]:
        """Lend the vectors, to one at a time: they come with a catalogue of their own."""
        with self._asking:
            if self._lent is None or self._lent[0] is not now:
                self._give_back()
                catalogue = self.workspace.catalogue(is_read_only=True)
                try:
                    with self._unanswered(404):  # there are no vectors yet
                        archive = Archive.of(self.workspace, catalogue, self.config)
                except BaseException:
                    catalogue.close()
                    raise
                self._lent = now, archive
            yield self._lent[1]

    def _give_back(self) -> None:
        if self._lent is not None:
            self._lent[1].catalogue.close()
            self._lent = None

    def _file(self, number: int) -> tuple[Path, RecordingRow]:
        """Return the file of a recording that can be heard."""
        with self._catalogues.one() as catalogue:
            row = _recording(catalogue, number)
        if not row.n_samples:
            raise Unanswered(404, f"nothing of this recording was heard: {row.state} {row.reason}")
        file = _sound(row)
        if file is None:
            raise Unanswered(404, "its file is not there any more, or has changed since")
        return file, row

    def _report(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.workspace.reports / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Unanswered(404, f"reports/{name} is damaged: make it again") from error

    def _is_stale(self, report: str, fingerprint_of: Callable[[Catalogue], str]) -> bool:
        with self._catalogues.one() as catalogue:
            stage = catalogue.stage(report)
            return stage is None or stage.fingerprint != fingerprint_of(catalogue)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Now:
    """What is known of a workspace at once; never changed, but made anew."""

    stands_for: str
    key: str
    grouping: str
    model: str
    overview: Overview
    points: bytes
    points_tag: str
    tape: Tape
    tape_rows: int
    hours: float
    has_model: bool
    labels: _Labels
    names: dict[int, str]
    looks: dict[int, str]
    exemplars: dict[int, list[int]]
    stability: dict[int, float]
    fits: dict[int, list[int]]
    notes: list[str]
    missing: list[str]

    @classmethod
    def of(
        cls, workspace: Workspace, catalogue: Catalogue, config: OscineConfig, stands_for: str
    ) -> _Now:
        archive, grouped = catalogue.stage("index"), catalogue.stage("cluster")
        overview = Overview.of(catalogue)
        types, looks, notes, missing = None, {}, alarms_of(catalogue), []
        if grouped is not None and grouped.finished:
            types, looks = sound_types(catalogue), overview.looks(catalogue)
            notes += types.report.notes
            n_newer = len(overview.numbers) - catalogue.n_grouped()
            if n_newer:
                notes.append(
                    f"{n_newer:,} newer events are in no sound type and on no map yet, and count "
                    "as not grouped: run `oscine embed`, then `oscine cluster`"
                )
            embedded = catalogue.stage("embed")
            if (
                embedded is None
                or not embedded.finished
                or grouped.fingerprint != grouping_of(embedded, config.cluster)
            ):
                notes.append(f"{OLDER}: run `oscine cluster`")
        elif not (overview.types >= 0).any():
            stages = {name: catalogue.stage(name) for name in GROUPING}
            missing = [name for name, one in stages.items() if one is None or not one.finished]
        else:
            notes.append("the sound types are of an earlier grouping: run `oscine cluster`")
        summary = catalogue.summary()
        n_untimed = sum(n for zone, n in summary.zones.items() if MODIFICATION in zone)
        if n_untimed:
            notes.append(
                f"{n_untimed:,} recordings have no time but that of their file's last change: "
                "none is shown for them"
            )
        labels = _Labels.of(workspace, catalogue)
        grouping = _grouping(catalogue)
        points = overview.points(catalogue, grouping)
        of_archive = archive.fingerprint if archive is not None else ""
        key = fingerprint(str(workspace.folder.resolve()), of_archive, catalogue.last("events"))
        model = catalogue.stage("pretrain")
        # What other maps are made of: the events, and what was learned and found of them.
        made = [(one.fingerprint if one else "") for one in map(catalogue.stage, GROUPING)]
        return cls(
            stands_for=stands_for,
            key=key,
            grouping=grouping,
            model=fingerprint(key, *made),
            overview=overview,
            points=points,
            points_tag=hashlib.sha256(points).hexdigest()[:32],
            tape=tape_of(workspace, catalogue, config),
            tape_rows=catalogue.tape_rows(),
            hours=round(summary.heard_s / 3600, 4),
            has_model=model is not None and model.finished and _has_torch(),
            labels=labels,
            names=types.names if types else {},
            looks=looks,
            exemplars=types.exemplars if types else {},
            stability=types.stability if types else {},
            fits=types.fits if types else {},
            notes=[*notes, *labels.notes],
            missing=missing,
        )

    def check(self, recording: RecordingRow) -> None:
        """Refuse a recording that came since."""
        if recording.tape_row + recording.n_frames > self.tape_rows:
            raise Unanswered(409, "this recording came just now: load the page again")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labels:
    """What people said of recordings, by column the values that there are."""

    values: dict[str, list[str]]
    matched: Matched
    notes: list[str]

    @classmethod
    def of(cls, workspace: Workspace, catalogue: Catalogue) -> _Labels:
        if not workspace.labels_file.exists():
            nothing = Matched(annotations=(), problems=(), file_of={})
            return cls(values={}, matched=nothing, notes=[])
        with LabelBook(workspace.labels_file, is_read_only=True) as book:
            annotations = book.annotations()
        said: dict[str, set[str]] = {}
        for one in annotations:
            for name, value in one.labels.items():
                said.setdefault(name, set()).add(value)
        matched, _ = placed_annotations(catalogue, annotations)
        return cls(
            values={
                name: sorted(values) for name, values in said.items() if len(values) <= MOST_LABELS
            },
            matched=matched,
            notes=[
                f"labels {name!r} are not shown: {len(values):,} different ones are no categories"
                for name, values in said.items()
                if len(values) > MOST_LABELS
            ],
        )

    def of_events(self, events: Sequence[EventRow], name: str) -> list[str | None]:
        return labels_of_events(events, self.matched, name)


class _Catalogues:
    """Open catalogues, each lent to one question at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._free: LifoQueue[Catalogue] = LifoQueue()
        self._is_closed = False

    @contextmanager
    def one(self) -> Iterator[Catalogue]:
        try:
            catalogue = self._free.get_nowait()
        except Empty:
            catalogue = self._workspace.catalogue(is_read_only=True)
        try:
            yield catalogue
        finally:
            if self._is_closed or self._free.qsize() >= CATALOGUES:
                catalogue.close()
            else:
                self._free.put(catalogue)

    def close(self) -> None:
        self._is_closed = True
        while not self._free.empty():
            self._free.get_nowait().close()


class _Sounds:
    """Sounds that were asked for last: a browser asks for each in parts."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Wav] = OrderedDict()
        self._n_bytes = 0
        self._changing = threading.Lock()

    def get(self, key: str, make: Callable[[], Wav]) -> Wav:
        with self._changing:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._changing:
            if key not in self._kept:
                self._kept[key] = made
                self._n_bytes += len(made.data)
            # The last stays, however large it is: its next part is about to be asked for.
            while self._n_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._n_bytes -= len(self._kept.popitem(last=False)[1].data)
        return made


def _stands_for(workspace: Workspace, catalogue: Catalogue) -> str:
    """Return what changes whenever an answer may."""
    labels, archive = workspace.labels_file, catalogue.stage("index")
    is_known = archive is not None and archive.finished  # else the last run has not told it
    stages = [catalogue.stage(name) for name in ("index", "pretrain", "embed", "cluster", TYPES)]
    return fingerprint(
        [(one.fingerprint, one.finished, one.facts) for one in stages if one is not None],
        catalogue.last("events"),
        catalogue.tape_rows(),
        catalogue.last("recordings"),
        None if is_known else places_fingerprint(catalogue),
        labels.stat().st_mtime if labels.exists() else 0,
    )


def _grouping(catalogue: Catalogue) -> str:
    """Return the fingerprint of the sound types in use; empty where none are, or of before."""
    stage = catalogue.stage("cluster")
    return grouping_fingerprint(catalogue) if stage is not None and stage.finished else ""


def _event(catalogue: Catalogue, number: int) -> tuple[EventRow, RecordingRow]:
    event = catalogue.some_events([number]).get(number)
    if event is None:
        raise Unanswered(404, f"there is no event {number}")
    return event, catalogue.some_recordings([event.recording_id])[event.recording_id]


def _recording(catalogue: Catalogue, number: int) -> RecordingRow:
    row = catalogue.some_recordings([number]).get(number)
    if row is None:
        raise Unanswered(404, f"there is no recording {number}")
    return row


def _about(row: RecordingRow) -> dict[str, Any]:
    """Return what is said of a recording everywhere."""
    is_timed = row.started_ms is not None and MODIFICATION not in row.zone
    return {
        "id": row.recording_id,
        "path": row.path,
        "site": row.site,
        "recorder": row.recorder,
        "channel": row.channel,
        "start_ms": row.started_ms if is_timed else None,
        "utc_offset_min": row.utc_offset_min if is_timed else None,
        "sample_rate_hz": row.sample_rate_hz,
        "n_samples": row.n_samples,
        "duration_s": row.duration_s,
        "longest_s": longest_s(row.sample_rate_hz, row.n_channels),
        "state": row.state,
        "reason": row.reason,
    }


def _has_torch() -> bool:
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:  # whoever looks for it may say so like this, too
        return False


def _channel(row: RecordingRow) -> int | None:
    return None if row.channel < 0 else row.channel


def _sound(row: RecordingRow) -> Path | None:
    """Return the file of a recording that is present and was heard, if it still holds that."""
    if not row.n_samples or not row.is_present:
        return None
    try:
        return unchanged_file(row)
    except ValueError:  # it says why
        return None


def _similar(report: SimilarReport, catalogue: Catalogue, n_asked: int) -> Similar:
    """Return what was found as the page shows it."""
    found = [*report.others, *report.own]
    with catalogue.unchanged():  # the report may be of another grouping
        events = catalogue.some_events(one.event for one in found)
        rows = catalogue.some_recordings({one.recording_id for one in events.values()})
        types, grouping = catalogue.sound_types_of(events), _grouping(catalogue)

    def alike_of(one: SimilarEvent) -> Alike:
        row = rows[events[one.event].recording_id]
        about = _about(row)
        start_ms = about["start_ms"]
        return Alike(
            event=one.event,
            likeness=one.likeness,
            percentile=one.percentile,
            pairs=one.pairs,
            type=types.get(one.event, -1),
            recording=row.recording_id,
            path=row.path,
            site=row.site,
            start_s=one.start_s,
            stop_s=one.stop_s,
            start_ms=None if start_ms is None else start_ms + round(1000 * one.start_s),
            utc_offset_min=about["utc_offset_min"],
        )

    why = ""
    if not any(one.percentile is not None for one in found):
        weak = [note for note in report.notes if note.endswith(": no percentiles")]
        why = "percentiles are known for one example alone" if n_asked > 1 else ""
        why = why or next(iter(weak), "the archive is too small to say what a likeness is worth")
    return Similar(
        others=[alike_of(one) for one in report.others],
        own=[alike_of(one) for one in report.own],
        compared=report.compared,
        grouping=grouping,
        why=why,
        notes=report.notes,
    )


@contextmanager
def _in_time(catalogue: Catalogue) -> Iterator[None]:
    """Break off what takes too long in a catalogue, and say so."""
    try:
        with catalogue.within(WHERE_S):
            yield
    except TimeoutError as error:
        raise Unanswered(422, f"the condition takes too long: {error}") from error
    except sqlite3.OperationalError as error:
        raise Unanswered(422, f"the condition cannot be asked: {error}") from error
