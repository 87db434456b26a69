"""The web application: addresses, and what is asked of the source for each.

In come a source and who may ask; out comes an application for a server (ASGI). No address holds a
path: numbers name everything, and files of the page are those that lie in its folder at the start.
What takes a moment runs in threads: many quick questions at once, few slow ones, the rest wait or
are told to come again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Body, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from oscine.atlas.explorer.access import SIMILAR, Access, Guard, sentence
from oscine.atlas.explorer.ranges import ranged
from oscine.atlas.explorer.source import (
    Atlas,
    Edited,
    Event,
    RecordingList,
    Similar,
    Source,
    TypeCard,
    Unanswered,
    Wanted,
    WholeRecording,
)
from oscine.config import WrongArgument

T = TypeVar("T")

QUICK_AT_ONCE, SLOW_AT_ONCE, APART_AT_ONCE = 12, 2, 4
MOST_WAITING = 64
"""Slow questions that wait; more are told to come again."""
MOST_EXAMPLES = 32
LONG_S = 600.0
"""To draw a longer stretch may take a second."""
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
"""Of files of the page; others are not served."""
BYTES = "application/octet-stream"
READOUT = "^(layer-(0|[1-9][0-9]{0,3})|individuals)$"
"""That a map can be drawn by."""
FIELDS = {"--where": "the condition"}
"""What an option of the command line is where it was typed into a page."""
SOUNDS = ("audio/", BYTES, "application/ogg", "video/mp4")
"""How the kinds of bodies begin that may be sounds."""

Number = Annotated[int, Path(ge=1, le=2**32 - 1)]
TypeNumber = Annotated[int, Path(ge=0, le=2**15 - 1)]
_LISTED = f"[1-9][0-9]{{0,9}}(,[1-9][0-9]{{0,9}}){{0,{MOST_EXAMPLES - 1}}}"
Numbers = Annotated[str, Query(pattern=f"^{_LISTED}$", description="Numbers, separated by commas.")]
NoNumbers = Annotated[
    str, Query(pattern=f"^({_LISTED})?$", description="Numbers, separated by commas, or none.")
]
Seed = Annotated[int, Query(ge=0, le=2**32 - 1)]
Seconds = Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False)]
Columns = Annotated[int, Query(ge=1, le=4000)]
Condition = Annotated[str, Query(max_length=2000)]
Top = Annotated[int, Query(ge=0, le=200)]
Who = Annotated[str, Body(embed=True, max_length=80)]
Grouping = Annotated[
    str,
    Body(
        embed=True,
        max_length=100,
        description="As /api/atlas told it. In another grouping a number may be that of another "
        "sound type: 409, and nothing is changed.",
    ),
]

_WORDS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": said,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                }
            }
        },
    }
    for status, said in {
        404: "There is none of this number, or not this of it.",
        409: "The workspace has changed, or is in use; the sentence says what to do.",
        422: "It cannot be meant; the sentence says why.",
        503: "Busy: ask again after Retry-After.",
    }.items()
}


def _binary(kind: str, said: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {**_WORDS, 200: {"description": said, "content": {kind: {"schema": schema}}}}


def create_app(source: Source, access: Access) -> Guard:
    """Return the application, for those who may ask.

    Parameters
    ----------
    source : Source
    access : Access

    Returns
    -------
    Guard
        An ASGI application; that of FastAPI is its ``app``.
    """
    app = FastAPI(
        title="Oscine: a sound atlas",
        version=source.version,
        description="Events, recordings and sound types of one finished workspace.",
        docs_url=None,  # they load from elsewhere
        redoc_url=None,
        responses=_WORDS,
        redirect_slashes=False,
    )
    _answer_in_sentences(app)
    work = _Work()
    _add_page(app)
    _add_map(app, source, work, is_local=access.token is None)
    _add_recordings(app, source, work)
    _add_likeness(app, source, work)
    _add_types(app, source, work)
    _add_reports(app, source, work)
    return Guard(app, access)


class _Work:
    """Threads for what takes a moment."""

    def __init__(self) -> None:
        self._quick = CapacityLimiter(QUICK_AT_ONCE)
        self._slow = CapacityLimiter(SLOW_AT_ONCE)
        self._apart = CapacityLimiter(APART_AT_ONCE)

    async def quick(self, ask: Callable[..., T], *given: Any, **named: Any) -> T:
        """Ask for something that takes milliseconds."""
        return await to_thread.run_sync(partial(ask, *given, **named), limiter=self._quick)

    async def apart(self, ask: Callable[..., T], *given: Any, **named: Any) -> T:
        """Ask for something that another process works on; it says itself when it is busy."""
        return await to_thread.run_sync(partial(ask, *given, **named), limiter=self._apart)

    async def slow(self, ask: Callable[..., T], *given: Any, **named: Any) -> T:
        """Ask for something that may take a second or more."""
        if self._slow.statistics().tasks_waiting >= MOST_WAITING:
            raise Unanswered(503, "too many slow questions at once: ask again in a moment", 5)
        return await to_thread.run_sync(partial(ask, *given, **named), limiter=self._slow)


def _answer_in_sentences(app: FastAPI) -> None:
    """Give every error as a sentence."""

    @app.exception_handler(Unanswered)
    async def unanswered(_: Request, error: Unanswered) -> Response:
        after = error.retry_after_s
        headers = None if after is None else {"Retry-After": str(after)}
        return JSONResponse({"error": sentence(error.why)}, error.status, headers)

    @app.exception_handler(WrongArgument)
    async def wrong(_: Request, error: WrongArgument) -> Response:
        field = FIELDS.get(error.option)
        said = f"{field} {error.problem}" if field else str(error)
        return JSONResponse({"error": sentence(said)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        said = [
            f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}"
            for one in error.errors()
        ]
        return JSONResponse({"error": sentence("; ".join(said))}, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        said = "there is nothing here" if error.status_code == 404 else error.detail
        return JSONResponse({"error": sentence(said)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        said = "the server failed at this; where it runs, it says why"
        return JSONResponse({"error": sentence(said)}, 500)


def _add_page(app: FastAPI) -> None:
    """Serve the files that lie in the folder of the page now, by their names."""
    folder = files("oscine.atlas.explorer") / "static"
    page = {
        one.name: one
        for one in folder.iterdir()
        if one.is_file() and _ending(one.name) in KINDS and not one.name.startswith(".")
    }

    def file(request: Request, name: str) -> Response:
        if name not in page:
            raise Unanswered(404, "the page has no such file")
        kind = f"{KINDS[_ending(name)]}; charset=utf-8"
        return _kept(request, page[name].read_bytes(), kind)

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        return file(request, "index.html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(request: Request, name: str) -> Response:
        return file(request, name)


def _add_map(app: FastAPI, source: Source, work: _Work, *, is_local: bool) -> None:
    @app.get("/api/atlas")
    async def atlas() -> Atlas:
        """Return what a page needs first."""
        found = await work.slow(source.atlas)
        return found if is_local else replace(found, workspace="")

    @app.get("/api/points", response_class=Response, responses=_binary(BYTES, "Columns."))
    async def points(request: Request) -> Response:
        """Return the events on the map: all, or above 100,000 a faithful sample."""
        tag, data = await work.slow(source.points)
        return _kept(request, data, BYTES, tag)

    @app.get("/api/points/likeness", response_class=Response, responses=_binary(BYTES, "Cosines."))
    async def likeness(like: Numbers, unlike: NoNumbers = "") -> Response:
        """Return how much each point is like some events, and unlike others."""
        wanted, unwanted = _numbers(like), _numbers(unlike)
        return _columns(await work.slow(source.likeness, wanted, unwanted))

    @app.get(
        "/api/points/label/{label:path}",
        response_class=Response,
        responses=_binary(BYTES, "Values."),
    )
    async def labelled(label: Annotated[str, Path(max_length=200)]) -> Response:
        """Return what one column of labels says of each point: places in its values, or -1."""
        return _columns(await work.slow(source.labelled, label))

    @app.get("/api/points/where", response_class=Response, responses=_binary(BYTES, "0 or 1."))
    async def where(q: Condition) -> Response:
        """Tell which points meet a condition, such as ``hour between 5 and 9``."""
        return _columns(await work.slow(source.where, q))

    @app.get("/api/events/{event}")
    async def one_event(event: Number) -> Event:
        """Return all that is known of an event."""
        return await work.quick(source.event, event)

    @app.get(
        "/api/events/{event}/strip.png",
        response_class=Response,
        responses=_binary("image/png", "A spectrogram, low frequencies at the bottom."),
    )
    async def strip(
        request: Request,
        event: Number,
        height: Annotated[int, Query(ge=16, le=256)] = 64,
        key: Annotated[
            str, Query(max_length=64, description="That of /api/atlas: may be kept for ever.")
        ] = "",
    ) -> Response:
        """Return a small spectrogram of an event."""
        tag, data = await work.quick(source.strip, event, height)
        is_fixed = bool(key) and tag.startswith(f"{key}-")
        return _kept(request, data, "image/png", tag, is_fixed=is_fixed)

    @app.get(
        "/api/events/{event}/reconstruction",
        response_class=Response,
        responses=_binary(BYTES, "Pictures; JSON where there is no model."),
    )
    async def reconstruction(event: Number, seed: Seed = 0) -> Response:
        """Return what the masked model makes of an event."""
        found = await work.apart(source.reconstruction, event, seed)
        if isinstance(found, bytes):
            return _columns(found)
        return JSONResponse({"available": False, "why": found})


def _add_recordings(app: FastAPI, source: Source, work: _Work) -> None:
    @app.get("/api/recordings")
    async def recordings(
        after: Annotated[int, Query(ge=0, le=2**32 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 500,
        ids: Annotated[str | None, Query(pattern="^[0-9]{1,10}(,[0-9]{1,10}){0,499}$")] = None,
        site: Annotated[str | None, Query(max_length=200)] = None,
        text: Annotated[str | None, Query(max_length=200)] = None,
        state: Annotated[str | None, Query(max_length=20)] = None,
        day: Annotated[int | None, Query(ge=-100_000, le=100_000)] = None,
    ) -> RecordingList:
        """Return recordings, by number."""
        wanted = Wanted(
            after=after,
            limit=limit,
            ids=None if ids is None else [int(one) for one in ids.split(",")],
            site=site,
            text=text,
            state=state,
            day=day,
        )
        return await work.slow(source.recordings, wanted)

    @app.get("/api/recordings/{recording}")
    async def recording(recording: Number) -> WholeRecording:
        """Return a recording with its events."""
        return await work.quick(source.recording, recording)

    @app.get(
        "/api/recordings/{recording}/spectrogram",
        response_class=Response,
        responses=_binary(BYTES, "Levels, band by band within each frame."),
    )
    async def spectrogram(
        recording: Number,
        start_s: Seconds = 0.0,
        stop_s: Seconds | None = None,
        columns: Columns = 1000,
    ) -> Response:
        """Return the picture of a stretch of a recording, the highest level of each column."""
        is_long = stop_s is None or stop_s - start_s > LONG_S
        ask = work.slow if is_long else work.quick
        return _columns(await ask(source.spectrogram, recording, start_s, stop_s, columns))

    @app.get(
        "/api/recordings/{recording}/waveform",
        response_class=Response,
        responses=_binary(BYTES, "Lowest and highest sample of each column."),
    )
    async def waveform(
        recording: Number,
        start_s: Seconds = 0.0,
        stop_s: Seconds | None = None,
        columns: Columns = 1000,
    ) -> Response:
        """Return the extremes of a stretch of a recording."""
        return _columns(await work.quick(source.waveform, recording, start_s, stop_s, columns))

    @app.get(
        "/api/recordings/{recording}/audio",
        response_class=Response,
        responses=_binary("audio/wav", "WAV, 16 bits."),
    )
    async def audio(
        request: Request,
        recording: Number,
        start_sample: Annotated[int, Query(ge=0, le=2**48)] = 0,
        stop_sample: Annotated[int | None, Query(ge=0, le=2**48)] = None,
        speed: Annotated[Literal["1", "0.5", "0.25", "0.1"], Query()] = "1",
    ) -> Response:
        """Return a stretch of a recording to be heard; slower by a lower rate. Knows ranges."""
        tag, wav = await work.quick(
            source.audio, recording, start_sample, stop_sample, float(speed)
        )
        headers = {
            **_keeping(tag),
            "X-Start-Sample": str(wav.start_sample),
            "X-Stop-Sample": str(wav.stop_sample),
        }
        if _is_known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        asked = request.headers.get("range")
        if request.headers.get("if-range") not in (None, headers["ETag"]):
            asked = None  # the parts that it has are of another sound
        return ranged(asked, wav.data, "audio/wav", headers)

    @app.get("/api/timeline", response_class=Response, responses=_binary(BYTES, "Hours."))
    async def timeline() -> Response:
        """Return what was recorded and heard in each hour of each day, by the clocks there."""
        return _columns(await work.slow(source.timeline))


def _add_likeness(app: FastAPI, source: Source, work: _Work) -> None:
    @app.get(SIMILAR)
    async def similar(
        like: Numbers,
        unlike: NoNumbers = "",
        top: Top = 24,
        own: Top = 6,
        where: Condition | None = None,
    ) -> Similar:
        """Return the events that are most like some events, and unlike others."""
        wanted, unwanted = _numbers(like), _numbers(unlike)
        return await work.slow(source.similar, wanted, unwanted, top, own, where)

    @app.post(
        SIMILAR,
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "A sound file, as this or as any kind of audio.",
                "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def similar_to(
        request: Request,
        start_s: Seconds | None = None,
        stop_s: Seconds | None = None,
        top: Annotated[int, Query(ge=1, le=200)] = 24,
    ) -> Similar:
        """Return the events that are most like a sound file (at most 20 MB and 60 s)."""
        kind = request.headers.get("content-type", "").lower()
        if not kind.startswith(SOUNDS):
            raise Unanswered(415, "the body must be a sound file, its kind audio/...")
        sound = await request.body()
        if not sound:
            raise Unanswered(422, "the body is empty: it must be a sound file")
        return await work.apart(source.similar_to, sound, start_s, stop_s, top)


def _add_types(app: FastAPI, source: Source, work: _Work) -> None:
    @app.get("/api/types/{number}")
    async def sound_type(number: TypeNumber, seed: Seed = 0) -> TypeCard:
        """Return all that is known of a sound type."""
        return await work.slow(source.sound_type, number, seed)

    @app.post("/api/types/{number}/name")
    async def name(
        number: TypeNumber,
        grouping: Grouping,
        name: Annotated[str, Body(max_length=400)],
        who: Who = "",
    ) -> Edited:
        """Name a sound type; an empty name takes it back."""
        return await work.slow(source.name, grouping, number, name, who)

    @app.post("/api/types/merge")
    async def merge(
        grouping: Grouping,
        types: Annotated[
            list[Annotated[int, Body(ge=0, le=2**15 - 1)]], Body(min_length=2, max_length=100)
        ],
        who: Who = "",
    ) -> Edited:
        """Make one sound type of several."""
        return await work.slow(source.merge, grouping, types, who)

    @app.post("/api/types/{number}/split")
    async def split(number: TypeNumber, grouping: Grouping, who: Who = "") -> Edited:
        """Split a sound type where it falls apart."""
        return await work.slow(source.split, grouping, number, who)

    @app.post("/api/undo")
    async def undo(
        grouping: Grouping,
        edit: Annotated[int, Body(embed=True, ge=1, le=2**31 - 1)],
        who: Who = "",
    ) -> Edited:
        """Take back the last edit that counts, which is told by its number."""
        return await work.slow(source.undo, grouping, edit, who)

    @app.get("/api/history")
    async def history() -> Edited:
        """Return all edits, the last first."""
        return await work.slow(source.history)


def _add_reports(app: FastAPI, source: Source, work: _Work) -> None:
    @app.get("/api/layers")
    async def layers() -> dict[str, Any]:
        """Return what the evaluation says of layers, and the readouts a map can be drawn by."""
        return await work.slow(source.layers)

    @app.get("/api/behaviour")
    async def behaviour() -> dict[str, Any]:
        """Return what the join with behaviour says."""
        return await work.slow(source.behaviour)

    @app.post("/api/maps", status_code=202)
    async def draw_map(
        readout: Annotated[str, Body(embed=True, pattern=READOUT)],
    ) -> dict[str, float]:
        """Begin to draw a map by another readout: one layer alone, or that for individuals."""
        await work.apart(source.draw_map, readout)
        return {"share": 0.0}

    @app.get(
        "/api/maps/{readout}",
        response_class=Response,
        responses=_binary(BYTES, "Places; 202 and a share while it is drawn."),
    )
    async def drawn_map(readout: Annotated[str, Path(pattern=READOUT)]) -> Response:
        """Return a map that was drawn by another readout."""
        found = await work.quick(source.drawn_map, readout)
        return (
            _columns(found)
            if isinstance(found, bytes)
            else JSONResponse({"share": round(found, 3)}, 202)
        )


def _columns(found: bytes) -> Response:
    return Response(found, media_type=BYTES)


def _kept(
    request: Request, data: bytes, kind: str, tag: str = "", *, is_fixed: bool = False
) -> Response:
    """Return bytes that a browser may keep, and nothing where it has them."""
    headers = _keeping(tag or hashlib.sha256(data).hexdigest()[:32], is_fixed=is_fixed)
    if _is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


def _keeping(tag: str, *, is_fixed: bool = False) -> dict[str, str]:
    kept = "max-age=31536000, immutable" if is_fixed else "no-cache"
    return {"ETag": f'"{tag}"', "Cache-Control": f"private, {kept}"}


def _is_known(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "").split(",")
    return tag in [one.strip().removeprefix("W/") for one in known]


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")] if text else []


def _ending(name: str) -> str:
    return "." + name.rpartition(".")[2]
