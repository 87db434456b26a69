"""What was seen joined with what was heard: `join`.

In come a workspace with sound types and a log of an observer; out come what goes with what, and
``reports/join.html``, ``join.json`` and tables. Logs are kept in the workspace: the report is made
of all of them, and can be made again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oscine import __version__
from oscine.atlas.explorer.overview import Overview
from oscine.config import OscineConfig, WrongArgument, from_mapping, to_mapping, with_overrides
from oscine.steps.listening import join_fingerprint
from oscine.steps.naming import sound_type_names, sound_types
from oscine.steps.shared import Progress, at_work, needed, open_tape, telling
from oscine.steps.sounds import pictured
from oscine.workspace.arrays import ArrayReader, NewFile
from oscine.workspace.catalogue import Catalogue, Stage
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from oscine.atlas.pictures import Box, PageExemplar
    from oscine.behaviour.analysis import Analysed
    from oscine.behaviour.kept import AnalysisConfig, KeptLog
    from oscine.behaviour.recorded import Recorded
    from oscine.behaviour.tables import Problem
    from oscine.behaviour.words import Evidence

PAGE, FACTS, TABLE = "join.html", "join.json", "join.parquet"
COUNTERPARTS, OBSERVED, PAIRS, COLUMNS = (
    "join_counterparts.parquet",
    "join_observations.parquet",
    "join_pairs.csv",
    "join_columns.md",
)
EFFORT, CONTEXTS, ALIKE = "join_effort.csv", "join_contexts.csv", "join_neighbours.csv"
BEHAVIOURS = "join_behaviours.csv"
REPORTS = (
    *(PAGE, FACTS, TABLE, COUNTERPARTS, OBSERVED, PAIRS, COLUMNS),
    *(EFFORT, CONTEXTS, ALIKE, BEHAVIOURS),
)
NEIGHBOURS = 10
"""Most alike calls that a call is compared with."""
MOST_EXEMPLARS = 12
"""Sound types that can be heard on the page."""
RECORDED, RECORDED_SAID = "recorded.parquet", "recorded.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockAsked:
    """How the clock of a log is to be corrected, as far as the user says.

    Attributes
    ----------
    offset_s : float or None
        What the observer's clock shows more than the recorder's.
    drift_ppm : float
    uncertainty_s : float
        0: not known.
    use_estimate : bool
        Correct it by what the markers, or calls and behaviour, say.
    markers : Path or None
        A table of instants that both clocks showed.
    """

    offset_s: float | None = None
    drift_ppm: float = 0.0
    uncertainty_s: float = 0.0
    use_estimate: bool = False
    markers: Path | None = None

    def __post_init__(self) -> None:
        if self.use_estimate and self.offset_s is not None:
            raise WrongArgument("give either --offset-s or --correct-clock, not both")
        if self.offset_s is None and (self.drift_ppm or self.uncertainty_s):
            raise WrongArgument("--drift-ppm and --clock-uncertainty-s go with --offset-s")


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedLog:
    """A log of the workspace, and what of it found counterparts.

    Attributes
    ----------
    name, file, kind : str
    rows, used, unread, points, states, whole, nowhere, sessions, subjects, calls : int
        As in :class:`oscine.behaviour.page.PageLog`.
    hours : float
    timezone : str
    """

    name: str
    file: str
    kind: str
    rows: int
    used: int
    unread: int
    points: int
    states: int
    whole: int
    nowhere: int
    sessions: int
    subjects: int
    hours: float
    calls: int
    timezone: str

    @property
    def watched(self) -> str:
        """The hours, as they are written."""
        return _hours(self.hours)


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinReport:
    """What was joined and what it says.

    Attributes
    ----------
    workspace : str
    logs : list of JoinedLog
    calls, observed, unobserved, without_time, without_log : int
        All, and by status: those without a log are of recordings of which none says anything.
    sessions : int
    hours : float
        Of observation while a recorder ran.
    tested, found : int
        Pairs of a sound type and a behaviour.
    verdict : str
        In a sentence, how much can be said.
    findings, limits : list of str
        What can be said; what cannot, and why.
    clocks : list of str
    guessed : list of str
        How the log that was given was read.
    problems : list of Problem
        Rows that were left out or should be looked at.
    notes : list of str
    report, table : str
    """

    workspace: str
    logs: list[JoinedLog] = field(default_factory=list)
    calls: int = 0
    observed: int = 0
    unobserved: int = 0
    without_time: int = 0
    without_log: int = 0
    sessions: int = 0
    hours: float = 0.0
    tested: int = 0
    found: int = 0
    verdict: str
    findings: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    clocks: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    report: str = ""
    table: str = ""

    @property
    def watched(self) -> str:
        """The hours, as they are written."""
        return _hours(self.hours)


def _hours(hours: float) -> str:
    from oscine.behaviour.clocks import hours_text

    return hours_text(hours)


def join(
    folder: Path,
    log: Path | None = None,
    *,
    name: str = "",
    config: Path | None = None,
    declared: Mapping[str, Any] | None = None,
    effort: Path | None = None,
    recorded: Path | None = None,
    clock: ClockAsked | None = None,
    settings: Iterable[str] = (),
    forget: str = "",
    progress: Progress | None = None,
) -> JoinReport:
    """Join a log with the calls of a workspace, and report on all logs that were joined.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    log : Path, optional
        None: report again on the logs that there are.
    name : str
        Of the log; the name of its file without ending if empty. A log of this name is replaced.
    config : Path, optional
        A ``join.toml`` that says how the log is read.
    declared : mapping of str to value, optional
        Settings of :class:`oscine.behaviour.config.LogConfig` that go before it.
    effort : Path, optional
        A table of when somebody watched.
    recorded : Path, optional
        A table of when recordings were made, where their files do not say.
    clock : ClockAsked, optional
    settings : iterable of str
        Of the analysis, such as ``permutations=999`` or ``join.tolerance_ms=300``; they are kept.
    forget : str
        Name of a log to remove; with the last one the reports go.
    progress : callable, optional

    Returns
    -------
    JoinReport

    Raises
    ------
    WrongArgument
        The log cannot be read, or a setting cannot be meant.
    ValueError
        There are no sound types yet.
    """
    from oscine.behaviour import kept
    from oscine.behaviour.analysis import analyse
    from oscine.behaviour.recorded import read_recorded

    declared = dict(declared or {})
    of_recordings = {"timezone", "date_format"} if recorded is not None else set[str]()
    if log is None and (name or config or declared.keys() - of_recordings or effort or clock):
        raise WrongArgument("name the log that this is said of, or give --report alone")
    with at_work(folder, ()) as (workspace, catalogue, known):
        needed(catalogue, "cluster")
        home = workspace.behaviour
        try:
            analysis = with_overrides(kept.analysis(home), settings)
        except ValueError as error:
            raise WrongArgument(str(error)) from error
        zone = str(declared.get("timezone", "")) or known.clock.timezone
        before = catalogue.stage("join")
        is_broken_off = before is not None and not before.finished
        if forget and not is_broken_off:
            kept.check_kept(home, forget)
        told = None
        if recorded is not None:
            told = read_recorded(recorded, zone, prefer=str(declared.get("date_format", "")))
        recordings, notes = _recordings(catalogue, told or _kept_recorded(home))
        fresh = None
        if log is not None:
            ran = _spans(recordings)
            fresh = _read(log, name, config, declared, effort, known.clock.timezone, clock, ran)
        elif before is None:
            raise WrongArgument(
                "no log was joined yet: give one, as in `oscine join behaviour.csv`"
            )
        calls = _calls(catalogue, recordings)
        if fresh is not None and clock is not None and clock.use_estimate:
            fresh = _with_estimate(fresh, calls, recordings, analysis)
        # All that was asked for can be done: from here on the reports are not those of the logs.
        catalogue.set_stage("join", Stage(fingerprint="", finished=False, facts={}))
        kept.keep_analysis(home, analysis)
        if forget:
            kept.forget(home, forget)
        if told is not None:
            _keep_recorded(home, told)
        if fresh is not None:
            kept.keep(home, fresh)
        logs = kept.kept_logs(home)
        notes += [
            f"The log {name} was not kept whole, for a run was broken off: join it again."
            for name in kept.broken_off(home)
        ]
        if not logs:
            for file in REPORTS:
                (workspace.reports / file).unlink(missing_ok=True)
            catalogue.drop_stage("join")
            verdict = "No log is left, and with the last one the reports of the join were removed."
            return JoinReport(workspace=str(folder), verdict=verdict, notes=notes)
        nearest = partial(_nearest, workspace, catalogue, calls)
        tell = telling(progress, "join") or _silent
        found = analyse(logs, calls, recordings, analysis, tell, nearest)
        guessed = [] if fresh is None else list(fresh.log.guessed)
        report = _written(workspace, catalogue, known, logs, found, analysis, guessed, notes)
        stage = Stage(fingerprint=join_fingerprint(catalogue), finished=True, facts={})
        catalogue.set_stage("join", stage)
        return report


def _silent(*_: object) -> None:
    """Tell nobody."""


def _read(
    file: Path,
    name: str,
    config: Path | None,
    declared: Mapping[str, Any],
    effort: Path | None,
    timezone: str,
    clock: ClockAsked | None,
    recorded: list[tuple[int, int]],
) -> KeptLog:
    """Read a log as it will be kept."""
    import polars as pl

    from oscine.behaviour.config import LogConfig
    from oscine.behaviour.kept import (
        AboutLog,
        ClockConfig,
        KeptLog,
        check_name,
        config_of,
        content_hash,
    )
    from oscine.behaviour.log import read_log
    from oscine.behaviour.markers import MARKERS, read_markers
    from oscine.behaviour.times import days_of

    check_name(name or file.stem)
    about = {} if config is None else to_mapping(config_of(config))
    about |= {key: value for key, value in declared.items() if value}
    if declared and config is not None:
        about["guess"] = True
    if effort is not None:
        about |= {"effort": str(effort), "effort_date_format": ""}
    try:
        wanted = from_mapping(LogConfig, about)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    log = read_log(file, wanted, name=name, default_timezone=timezone, recorded=recorded)
    markers = pl.DataFrame(schema=dict(MARKERS))
    corrected = ClockConfig()
    if clock is not None and clock.markers is not None:
        zone = log.config.timezone or timezone
        markers, said = read_markers(
            clock.markers,
            zone,
            prefer=str(declared.get("date_format", "")),
            days=days_of(recorded, zone),
        )
        log = replace(log, guessed=(*log.guessed, *said))
    if clock is not None and clock.offset_s is not None:
        first_ms = log.observations["start_ms"].min()
        corrected = ClockConfig(
            is_corrected=True,
            offset_ms=1000 * clock.offset_s,
            drift_ppm=clock.drift_ppm,
            at_ms=first_ms if isinstance(first_ms, int) else 0,
            uncertainty_ms=1000 * clock.uncertainty_s,
        )
    return KeptLog(
        about=AboutLog(
            file=file.name, content_hash=content_hash(file), log=log.config, clock=corrected
        ),
        log=log,
        markers=markers,
    )


def _with_estimate(
    fresh: KeptLog, calls: pl.DataFrame, recordings: pl.DataFrame, analysis: AnalysisConfig
) -> KeptLog:
    """Return a log with its clock corrected by what is told of it."""
    from oscine.behaviour.analysis import tell_clock
    from oscine.behaviour.kept import ClockConfig

    told = tell_clock(fresh, calls, recordings, analysis.seed)
    if told.estimate is None:
        raise WrongArgument(
            f"the clock of {fresh.log.name} cannot be corrected: {' '.join(told.page.said)}"
        )
    corrected = ClockConfig(
        is_corrected=True,
        source=told.estimated_by,
        offset_ms=told.estimate.offset_ms,
        drift_ppm=told.estimate.drift_ppm,
        at_ms=told.estimate.at_ms,
        uncertainty_ms=told.state.uncertainty_ms or 0.0,
    )
    return replace(fresh, about=replace(fresh.about, clock=corrected))


def _keep_recorded(home: Path, told: Recorded) -> None:
    """Keep when recordings were made."""
    with NewFile(home / RECORDED) as path:
        told.recordings.write_parquet(path)
    with NewFile(home / RECORDED_SAID) as path:
        path.write_text(json.dumps(told.said, indent=1) + "\n", encoding="utf-8")


def _kept_recorded(home: Path) -> Recorded | None:
    """Return when recordings were made, as it was told before."""
    import polars as pl

    from oscine.behaviour.recorded import Recorded

    if not (home / RECORDED_SAID).exists():
        return None
    return Recorded(
        recordings=pl.read_parquet(home / RECORDED),
        said=tuple(json.loads((home / RECORDED_SAID).read_bytes())),
    )


def _recordings(catalogue: Catalogue, told: Recorded | None) -> tuple[pl.DataFrame, list[str]]:
    """Return all that was recorded, one row a file, and what is to be said of its times."""
    import polars as pl

    from oscine.behaviour.matching import RECORDINGS
    from oscine.behaviour.recorded import applied

    rows = [
        (
            row.recording_id,
            row.path,
            row.site,
            row.known_ms,
            -(-1000 * row.n_samples // row.sample_rate_hz),
        )
        for row in catalogue.recordings()
        if row.channel <= 0 and row.n_samples and row.sample_rate_hz and row.state != "duplicate"
    ]
    recordings = pl.DataFrame(rows, schema=dict(RECORDINGS), orient="row")
    notes: list[str] = []
    if told is not None:
        recordings, n_missing = applied(recordings, told.recordings)
        notes += told.said
        if n_missing:
            notes.append(
                f"{n_missing:,} rows of the table of recordings name none of the archive, or "
                "several."
            )
    else:
        recordings = recordings.with_columns(caller=pl.lit(""))
    return recordings, notes


def _spans(recordings: pl.DataFrame) -> list[tuple[int, int]]:
    """Return when each recording of known time began and ended."""
    import polars as pl

    start = pl.col("start_ms")
    dated = recordings.drop_nulls("start_ms").select(start, stop_ms=start + pl.col("duration_ms"))
    return dated.rows()


def _calls(catalogue: Catalogue, recordings: pl.DataFrame) -> pl.DataFrame:
    """Return all calls, with the times and sites of their recordings."""
    import polars as pl

    from oscine.behaviour.tables import CALLS, empty

    columns = ["call", "recording", "path", "sound_type", "file_start_ms", "length_ms"]
    first = dict(recordings.select("path", "recording").iter_rows())
    blocks = [
        pl.DataFrame(
            [
                # Channels of a file are one recording to who watched.
                (row[0], first.get(row[2], row[1]), row[2], row[4], row[6], row[7])
                for row in rows
            ],
            schema=columns,
            orient="row",
        )
        for rows in catalogue.calls()
    ]
    if not blocks:
        return empty(CALLS)
    return (
        pl.concat(blocks)
        .join(
            recordings.select("recording", "site", "caller", began_ms="start_ms"),
            on="recording",
            how="inner",
            maintain_order="left",
        )
        .with_columns(
            start_ms=pl.col("began_ms") + pl.col("file_start_ms"),
            stop_ms=pl.col("began_ms") + pl.col("file_start_ms") + pl.col("length_ms"),
            file_stop_ms=pl.col("file_start_ms") + pl.col("length_ms"),
        )
        .select(pl.col(name).cast(kind) for name, kind in CALLS.items())
    )


def _nearest(
    workspace: Workspace, catalogue: Catalogue, calls: pl.DataFrame, numbers: np.ndarray
) -> np.ndarray:
    """Return the most alike of some calls, of other recordings, as rows of these."""
    import numpy as np
    import polars as pl

    from oscine.search.exact import NOBODY, exact_elsewhere

    facts = needed(catalogue, "embed").facts
    found = np.full((len(numbers), NEIGHBOURS), NOBODY)
    has_vector = np.flatnonzero(numbers <= facts["events"])  # newer ones are not embedded yet
    shape = (facts["dimensions"],)
    folder = workspace.embeddings() / "events"
    vectors = ArrayReader(folder, np.dtype(np.float32), shape, facts["events"])
    asked = numbers[has_vector]
    recordings = (
        pl.DataFrame({"call": asked})
        .join(calls.select("call", "recording"), on="call", how="left", maintain_order="left")[
            "recording"
        ]
        .to_numpy()
    )
    rows = exact_elsewhere(vectors.take(asked - 1), recordings, NEIGHBOURS)
    found[has_vector] = np.where(rows == NOBODY, NOBODY, has_vector[rows])
    return found


def _written(
    workspace: Workspace,
    catalogue: Catalogue,
    config: OscineConfig,
    logs: list[KeptLog],
    found: Analysed,
    analysis: AnalysisConfig,
    guessed: list[str],
    notes: list[str],
) -> JoinReport:
    """Write the page and the tables, and return what they say."""
    import numpy as np

    from oscine.behaviour.methods import (
        context_text,
        methods_text,
        neighbourhood_text,
    )
    from oscine.behaviour.page import JoinPage, write_join
    from oscine.behaviour.showing import (
        evidence_of,
        page_context,
        page_likenesses,
        page_log,
        page_sessions,
    )
    from oscine.behaviour.words import findings, limits, name_warnings, verdict

    names = sound_type_names(catalogue)
    pages = [page_log(kept.log, found.joined) for kept in logs]
    evidence = evidence_of(
        found.joined,
        found.association,
        tolerance_ms=analysis.join.tolerance_ms,
        clocks=[told.state for told in found.clocks],
        at_offsets=found.at_offsets,
        names=names,
        looks=Overview.of(catalogue).looks(catalogue),
        has_subjects=any(
            kept.log.observations["subject"].fill_null("").ne("").any() for kept in logs
        ),
    )
    evidence = replace(
        evidence,
        left_out={page.name: (page.n_unread, page.n_rows) for page in pages},
        n_seen=int(found.joined.observed["n"].sum()),
        n_unrecorded=int(found.joined.observed["n_unrecorded"].sum()),
    )
    behaviours = sorted({pair.behaviour for pair in evidence.pairs})
    notes = [
        *_said_twice(logs),
        *notes,
        *name_warnings(names, behaviours),
        *found.association.notes,
    ]
    also = [context_text(found.contexts)]
    if found.neighbourhood is not None:
        also.append(neighbourhood_text(found.neighbourhood, NEIGHBOURS))
    methods = methods_text(evidence, pages, analysis.join, version=__version__, more=also)
    files = _write_tables(workspace, found, evidence)
    exemplars = _exemplars(workspace, catalogue, config, evidence)
    page = JoinPage(
        title=f"What goes with what in {workspace.folder.name}",
        evidence=evidence,
        logs=pages,
        sessions=page_sessions(
            found.joined, {page.name: page.timezone or config.clock.timezone for page in pages}
        ),
        methods=methods,
        clocks=[told.page for told in found.clocks],
        context=page_context(found.contexts, found.joined.sessions),
        neighbourhood=[]
        if found.neighbourhood is None
        else page_likenesses(found.neighbourhood, found.joined.sessions),
        neighbourhood_p=None if found.neighbourhood is None else found.neighbourhood.p,
        exemplars=exemplars,
        band_hz=np.array(config.picture.band_hz),
        files=files,
        notes=notes,
    )
    write_join(workspace.reports / PAGE, page)
    statuses = dict(found.joined.calls.group_by("status").len().iter_rows())
    report = JoinReport(
        workspace=str(workspace.folder),
        logs=[
            JoinedLog(
                name=page.name,
                file=kept.about.file,
                kind=page.kind,
                rows=page.n_rows,
                used=page.n_used,
                unread=page.n_unread,
                points=page.n_points,
                states=page.n_states,
                whole=page.n_whole,
                nowhere=page.n_nowhere,
                sessions=page.n_sessions,
                subjects=page.n_subjects,
                hours=round(page.hours, 4),
                calls=page.n_calls,
                timezone=page.timezone,
            )
            for kept, page in zip(logs, pages, strict=True)
        ],
        calls=len(found.joined.calls),
        observed=statuses.get("observed", 0),
        unobserved=statuses.get("unobserved", 0),
        without_time=statuses.get("no time", 0),
        without_log=statuses.get("no log", 0),
        sessions=len(found.joined.sessions),
        hours=round(found.association.hours, 4),
        tested=found.association.n_tested,
        found=found.association.n_found,
        verdict=verdict(evidence),
        findings=[" ".join([one.sentence, *one.warnings]) for one in findings(evidence)],
        limits=[one.sentence for one in limits(evidence)],
        clocks=[f"{told.page.log}: {said}" for told in found.clocks for said in told.page.said],
        guessed=guessed,
        problems=list(found.problems),
        notes=notes,
        report=str(workspace.reports / PAGE),
        table=str(workspace.reports / TABLE),
    )
    facts = asdict(report) | {
        "analysis": to_mapping(analysis),
        "guessed": {kept.log.name: list(kept.log.guessed) for kept in logs},
        "settings": {kept.log.name: to_mapping(kept.about) for kept in logs},
        "association": asdict(found.association),
        "at_offsets": {where: asdict(one) for where, one in found.at_offsets.items()},
        "contexts": asdict(found.contexts),
        "neighbourhood": None if found.neighbourhood is None else asdict(found.neighbourhood),
        "names": names,
        "looks": evidence.looks,
        "methods": methods,
    }
    with NewFile(workspace.reports / FACTS) as path:
        path.write_text(_json(facts) + "\n", encoding="utf-8")
    return report


def _said_twice(logs: Sequence[KeptLog]) -> list[str]:
    """Warn of what two logs say alike: one file under two names, or parts of it."""
    import polars as pl

    what = ["behaviour", "subject", "timeline", "start_ms", "stop_ms"]
    notes: list[str] = []
    for one, other in combinations((kept.log for kept in logs), 2):
        both = one.observations.join(other.observations.select(what).unique(), on=what, how="semi")
        rows = both.select(pl.col("row").n_unique()).item()
        if rows:
            notes.append(
                f"{rows:,} of {one.observations['row'].n_unique():,} rows of {one.name} that say "
                f"what was seen are in {other.name} too (same behaviour, subject, place and time): "
                "they are two observations each, with counterparts of their own, and count once in "
                "hours, rates and tests. If it is one log under two names, remove one: oscine join "
                f"--forget {shlex.quote(other.name)}"
            )
    return notes


def _write_tables(
    workspace: Workspace, found: Analysed, evidence: Evidence
) -> list[tuple[str, str]]:
    """Write the tables for R and the like, and what their columns mean; return what they hold."""
    from oscine.behaviour import readme

    joined = found.joined
    pairs = _table(evidence.pairs)
    tables = {
        TABLE: (joined.calls, "a call, with what holds at its time", readme.CALLS),
        COUNTERPARTS: (joined.pairs, "a call and an observation", readme.PAIRS),
        OBSERVED: (_ended(found.observations), "an observation", readme.OBSERVATIONS),
        PAIRS: (pairs, "a sound type and a behaviour", readme.ASSOCIATION),
        EFFORT: (joined.effort, "a session of a log", readme.EFFORT),
        BEHAVIOURS: (joined.observed, "a behaviour of a log", readme.OBSERVED),
        CONTEXTS: (
            _table(found.contexts.standings),
            "a sound type and what was measured",
            readme.CONTEXT,
        ),
    }
    if found.neighbourhood is not None:
        likenesses = _table(found.neighbourhood.likenesses)
        tables[ALIKE] = likenesses, "a behaviour, by neighbours", readme.LIKENESS
    for name, (table, _, _) in tables.items():
        with NewFile(workspace.reports / name) as path:
            if name.endswith(".csv"):
                _as_r_reads(table).write_csv(path)
            else:
                table.write_parquet(path)
    described = {name: (what, columns) for name, (_, what, columns) in tables.items()}
    with NewFile(workspace.reports / COLUMNS) as path:
        path.write_text(readme.readme_text(described), encoding="utf-8")
    return [
        *((name, f"one row {what}") for name, (what, _) in described.items()),
        (COLUMNS, "what their columns mean"),
    ]


def _ended(observations: pl.DataFrame) -> pl.DataFrame:
    """Leave out the stops of what has none, as it holds for the whole of a recording."""
    import polars as pl

    from oscine.behaviour.parts import FOREVER

    stop = pl.col("stop_ms")
    return observations.with_columns(pl.when(stop < FOREVER).then(stop))


def _as_r_reads(table: pl.DataFrame) -> pl.DataFrame:
    """Write infinity in R's way, and text so that no spreadsheet takes it for a formula."""
    import polars as pl
    import polars.selectors as cs

    from oscine.sound.tables import FORMULA

    text = cs.string()
    quoted = pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text).name.keep()
    table = table.with_columns(quoted)
    endless = [one.name for one in table.select(cs.float()) if one.is_infinite().any()]
    value = pl.col(endless)
    infinity = pl.when(value > 0).then(pl.lit("Inf")).otherwise(pl.lit("-Inf"))
    return table.with_columns(
        pl.when(value.is_infinite()).then(infinity).otherwise(value.cast(pl.String)).name.keep()
    )


def _table(rows: Sequence[Any]) -> pl.DataFrame:
    """Return dataclasses as rows."""
    import polars as pl

    return pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None)


def _exemplars(
    workspace: Workspace, catalogue: Catalogue, config: OscineConfig, evidence: Evidence
) -> dict[int, tuple[PageExemplar, Box | None]]:
    """Return a sound of each type that something can be said of."""
    from oscine.atlas.pictures import Box
    from oscine.embedding.intervals import frame_intervals

    types = list(dict.fromkeys(pair.sound_type for pair in evidence.found))[:MOST_EXEMPLARS]
    exemplars = sound_types(catalogue).exemplars
    tape, _ = open_tape(workspace, catalogue, config)
    shown: dict[int, tuple[PageExemplar, Box | None]] = {}
    for number in types:
        row = catalogue.some_events(exemplars[number][:1])[exemplars[number][0]]
        recordings = catalogue.some_recordings([row.recording_id])
        (interval,) = frame_intervals([row], recordings)
        rate_hz = interval.recording.sample_rate_hz
        box = Box(
            start_s=row.start_sample / rate_hz,
            stop_s=row.stop_sample / rate_hz,
            low_hz=row.low_hz,
            high_hz=row.high_hz,
        )
        sound = pictured(interval, str(row.event_id), (row.low_hz, row.high_hz), tape, config)
        shown[number] = sound, box
    return shown


def _json(facts: Mapping[str, Any]) -> str:
    """Write facts as JSON, which knows no infinity: those become null."""
    return json.dumps(_finite(facts), indent=1, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
