"""`oscine join` from a workspace to its report: what is written, kept, said and refused."""

import csv
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import tiny

from oscine import steps
from oscine.behaviour import kept
from oscine.behaviour.analysis import analyse
from oscine.behaviour.config import LogConfig
from oscine.behaviour.kept import AnalysisConfig, KeptLog
from oscine.behaviour.log import read_log
from oscine.behaviour.markers import MARKERS, read_markers
from oscine.behaviour.matching import RECORDINGS
from oscine.behaviour.recorded import applied, read_recorded
from oscine.behaviour.tables import CALLS, empty
from oscine.cli import run
from oscine.config import WrongArgument, read_config
from oscine.steps.joining import _as_r_reads
from oscine.steps.naming import sound_types
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

FEW = ["permutations=199"]
TABLES = (
    *("join.parquet", "join_counterparts.parquet", "join_observations.parquet"),
    *("join_pairs.csv", "join_effort.csv", "join_columns.md", "join.html"),
)


def to_ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=2, recording_s=10))
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    """A workspace whose recorders ran on the clocks of London."""
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", archive)


@pytest.fixture
def workspace(tmp_path, learned):
    return shutil.copytree(learned, tmp_path / "crows.oscine")


@pytest.fixture(scope="module")
def truth(archive):
    with (archive / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def log(tmp_path, truth):
    """What an observer saw from 1 s before each true call to 1 s after it, by his own clock."""
    rows = [("start", "stop", "behaviour", "individual", "site")]
    for one in truth:
        began = datetime.fromisoformat(one["recorded_at"])
        start, stop = (
            began + timedelta(seconds=float(one[name]) + by)
            for name, by in (("start_s", -1), ("stop_s", 1))
        )
        times = (f"{time:%Y-%m-%d %H:%M:%S}" for time in (start, stop))
        rows.append((*times, one["context"], one["individual"], one["site"]))
    file = tmp_path / "seen.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)
    return file


@pytest.fixture
def joined(workspace, log):
    return steps.join(workspace, log, settings=FEW)


def reports(workspace):
    return {name: (workspace / "reports" / name).read_bytes() for name in TABLES}


def test_a_log_is_joined_and_reported_on(workspace, joined, truth):
    assert [(one.name, one.states) for one in joined.logs] == [("seen", len(truth))]
    calls = pl.read_parquet(workspace / "reports" / "join.parquet")
    assert len(calls) == joined.calls == steps.status(workspace).events
    assert dict(calls.group_by("status").len().iter_rows()) == {"observed": joined.observed} | (
        {"unobserved": joined.unobserved} if joined.unobserved else {}
    )
    assert joined.observed > 0
    seen = calls.filter(pl.col("n_during") > 0)
    assert len(seen) > joined.observed / 2  # a state around each true call
    assert any("London" in sentence for sentence in joined.guessed)
    facts = json.loads((workspace / "reports" / "join.json").read_bytes())
    assert facts["verdict"] == joined.verdict
    assert facts["association"]["n_permutations"] == 199
    assert "means" not in " ".join([joined.verdict, *joined.findings, *joined.limits])
    page = (workspace / "reports" / "join.html").read_text(encoding="utf-8")
    assert "goes with" in page.lower()


def test_calls_lie_within_the_states_of_their_own_context(workspace, joined, truth):
    calls = pl.read_parquet(workspace / "reports" / "join.parquet")
    began = {one["path"]: to_ms(one["recorded_at"]) for one in truth}
    for call in calls.filter(pl.col("n_during") > 0).iter_rows(named=True):
        if not call["path"].endswith(tuple(began)):
            continue
        start, stop = call["file_start_ms"], call["file_stop_ms"]
        near = {
            one["context"]
            for one in truth
            if one["path"] == call["path"]
            # The log was written to whole seconds.
            and 1000 * float(one["start_s"]) - 2000 < stop
            and start < 1000 * float(one["stop_s"]) + 2000
        }
        assert set(call["behaviours"]) <= near


def test_status_tells_when_the_sound_types_are_others_than_those_that_were_joined(workspace, log):
    assert "join" not in steps.status(workspace).stages
    steps.join(workspace, log, settings=FEW)
    assert steps.status(workspace).stages["join"] == "done"
    grouped = json.loads((workspace / "reports" / "join.json").read_bytes())
    assert all(look.endswith("Hz") and "s, " in look for look in grouped["looks"].values())
    steps.cluster(workspace, settings=["cluster.min_samples=3"])
    assert steps.status(workspace).stages["join"] == "stale"
    steps.join(workspace)
    assert steps.status(workspace).stages["join"] == "done"
    steps.name_sound_type(workspace, 0, "low caw")  # the page calls it by its number still
    assert steps.status(workspace).stages["join"] == "stale"


def test_the_join_is_stale_where_a_recording_has_another_name_now(workspace, archive, joined):
    """Its name says when it was."""

    def state():
        steps.index([archive], workspace)
        return steps.status(workspace).stages["join"]

    assert state() == "done"
    old = min(archive.rglob("*.flac"))
    new = old.with_name(old.name.replace("_2024", "_2023"))
    old.rename(new)
    try:
        assert state() == "stale"
    finally:
        new.rename(old)
    assert state() == "done"


@pytest.mark.parametrize("at", ["kept.keep", "analysis.analyse", "page.write_join"])
def test_a_join_that_was_broken_off_is_not_said_to_be_done(workspace, joined, log, monkeypatch, at):
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:10]) + "\n")

    def broken(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken_there:
        broken_there.setattr(f"oscine.behaviour.{at}", broken)
        with pytest.raises(KeyboardInterrupt):
            steps.join(workspace, log)
    assert steps.status(workspace).stages["join"] == "begun"
    assert [one.rows for one in steps.join(workspace, log).logs] == [9]
    assert steps.status(workspace).stages["join"] == "done"


def test_what_cannot_be_joined_changes_nothing(workspace, joined, log, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("what,when\n1,2\n")
    before = reports(workspace)
    for about in ({"log": bad, "forget": "seen"}, {"log": log, "forget": "nobody"}):
        with pytest.raises(WrongArgument):
            steps.join(workspace, **about, recorded=None)
    assert steps.status(workspace).stages["join"] == "done"
    assert [one.name for one in steps.join(workspace).logs] == ["seen"]
    assert reports(workspace) == before


def test_with_the_last_log_the_reports_go(workspace, joined, capsys):
    arguments = ["join", "--forget", "seen", "-w", str(workspace)]
    assert run(arguments) == 0
    assert "No log is left" in capsys.readouterr().out
    assert not list((workspace / "reports").glob("join*"))
    assert "join" not in steps.status(workspace).stages
    assert run(arguments) == 2


def test_the_report_can_be_made_again_with_the_same_bytes(workspace, joined):
    before = reports(workspace)
    again = steps.join(workspace)
    assert reports(workspace) == before
    assert again.verdict == joined.verdict
    assert again.guessed == []


def test_a_log_read_by_its_join_toml_gives_the_same_rows(workspace, joined, log):
    about = workspace / "behaviour" / "seen" / "join.toml"
    rows = pl.read_parquet(about.parent / "observations.parquet")
    steps.join(workspace, log, name="again", config=about)
    others = pl.read_parquet(workspace / "behaviour" / "again" / "observations.parquet")
    assert others.drop("log").equals(rows.drop("log"))
    assert read_config(about, kept.AboutLog).file == "seen.csv"
    assert not read_config(about, kept.AboutLog).log.guess


def test_the_facts_of_a_report_made_again_are_the_same(workspace, joined):
    facts = workspace / "reports" / "join.json"
    before = json.loads(facts.read_bytes())
    assert before["guessed"]["seen"] == joined.guessed
    steps.join(workspace)
    assert json.loads(facts.read_bytes())["guessed"] == before["guessed"]


def test_calls_of_another_site_than_that_of_the_log_are_not_called_unobserved(
    workspace, log, capsys
):
    settings = ["--set", "permutations=199"]
    assert run(["join", str(log), "--site", "=nowhere", "-w", str(workspace), *settings]) == 0
    said = " ".join(capsys.readouterr().out.split())
    told = steps.join(workspace)
    assert (told.observed, told.unobserved, told.without_log) == (0, 0, told.calls)
    (limit,) = told.limits
    assert f"{told.calls:,} lie in recordings of which no log says anything" in limit
    assert "unobserved" not in limit
    assert f"unobserved 0 without a log {told.calls:,} watched" in said


def test_one_log_under_two_names_is_warned_of(workspace, joined, log):
    assert not any("are in seen again too" in note for note in joined.notes)
    before = reports(workspace)
    counterparts = pl.read_parquet(workspace / "reports" / "join_counterparts.parquet")
    twice = steps.join(workspace, log, name="seen again")
    notes = twice.notes
    # What is said of it is so.
    assert reports(workspace)["join_pairs.csv"] == before["join_pairs.csv"]
    assert (twice.hours, twice.sessions) == (joined.hours, joined.sessions)
    doubled = pl.read_parquet(workspace / "reports" / "join_counterparts.parquet")
    assert len(doubled) == 2 * len(counterparts)
    assert "two observations each" in notes[0]
    assert "count once in hours, rates and tests" in notes[0]
    n = joined.logs[0].rows
    assert f"{n} of {n} rows of seen that say what was seen are in seen again too" in notes[0]
    assert "oscine join --forget 'seen again'" in notes[0]


def test_what_holds_for_a_whole_recording_has_no_stop(workspace, truth, tmp_path):
    file = tmp_path / "named.csv"
    clips = sorted({one["path"] for one in truth})
    lines = [f"{path},{'1' if n % 2 else ''}" for n, path in enumerate(clips)]
    file.write_text("\n".join(["recording,peck", *lines]) + "\n")
    steps.join(workspace, file, declared={"marker": "recording"}, settings=FEW)
    table = pl.read_parquet(workspace / "reports" / "join_observations.parquet")
    assert len(table) == len(clips) // 2
    assert table["start_ms"].to_list() == [0] * len(table)
    assert table["stop_ms"].null_count() == len(table)


def test_infinity_is_written_as_r_reads_it():
    endless = float("inf")
    table = pl.DataFrame({"a": [1.5, endless, None], "b": [0.1, -endless, 2.0], "c": [1, 2, 3]})
    assert _as_r_reads(table).write_csv() == "a,b,c\n1.5,0.1,1\nInf,-Inf,2\n,2.0,3\n"


def test_no_text_of_a_csv_is_a_formula_to_a_spreadsheet():
    names = ["=1+1", "-caw", "@x", "'=y", "caw-caw", "", None]
    written = _as_r_reads(pl.DataFrame({"a": names, "b": [-1.0] * 7})).write_csv().splitlines()
    assert [line.rsplit(",", 1)[0] for line in written[1:]] == [
        *("'=1+1", "'-caw", "'@x", "''=y", "caw-caw"),
        *('""', ""),
    ]
    assert all(line.endswith(",-1.0") for line in written[1:])


def test_dates_of_a_log_are_held_against_the_days_of_the_archive(workspace, truth, tmp_path):
    file = tmp_path / "seen.csv"
    began = datetime.fromisoformat(truth[0]["recorded_at"])
    file.write_text(f"date,time,behaviour\n{began:%d/%m/%y},{began:%H:%M:%S},peck\n")
    report = steps.join(workspace, file, settings=FEW)
    said = "something was recorded on 1 of its 1 days, and on none"
    assert any(said in one for one in report.guessed)
    report = steps.join(workspace, file, declared={"date_format": "mdy"})
    said = " ".join(one.what for one in report.problems)
    assert "it would fit with day and month exchanged" in said


def test_times_of_a_film_that_is_no_recording_ask_for_its_beginning(workspace, tmp_path, capsys):
    file = tmp_path / "film.tsv"
    file.write_text(
        "Observation id,Media file name,Subject,Behavior,Behavior type,Time\n"
        "one,day/film.mp4,Alma,peck,POINT,1.5\n"
    )
    settings = ["--set", "permutations=199"]
    assert run(["join", str(file), "-w", str(workspace), *settings]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "times count from the beginning of a film" in said
    assert "no recording goes by 'film' (row 2)" in said
    assert said.count("--media-start 2024-04-25T12:58:00+01:00") == 2


def test_of_several_films_a_table_of_their_beginnings_is_asked_for(workspace, tmp_path):
    file, films = tmp_path / "films.tsv", tmp_path / "films.csv"
    file.write_text(
        "Observation id,Observation date,Media file name,Subject,Behavior,Behavior type,Time\n"
        "one,2024-05-06 05:00:00,a.mp4,Alma,peck,POINT,1.5\n"
        "two,,b.mp4,Alma,peck,POINT,1.5\n"
    )
    told = steps.join(workspace, file, settings=FEW)
    way = "say when each began, in a table with the columns media and start: --media-start films"
    (guessed,) = (one for one in told.guessed if way in one)
    assert guessed.endswith("films.csv (a.mp4, observation date 2024-05-06 05:00:00, b.mp4)")
    assert any(way in problem.what for problem in told.problems)
    assert pl.read_parquet(workspace / "reports" / "join_counterparts.parquet").is_empty()
    # It is taken as it is asked for.
    films.write_text("media,start\na.mp4,2024-05-06T06:00:00\nb.mp4,2024-05-06T06:01:00\n")
    told = steps.join(workspace, file, declared={"media_start": str(films)})
    observations = pl.read_parquet(workspace / "reports" / "join_observations.parquet")
    assert observations["start_ms"].diff().to_list() == [None, 60_000]


def test_a_log_of_the_same_name_is_replaced_and_can_be_forgotten(workspace, joined, log):
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:10]) + "\n")
    assert [one.rows for one in steps.join(workspace, log).logs] == [9]
    assert [one.name for one in steps.join(workspace, log, name="more").logs] == ["more", "seen"]
    assert [one.name for one in steps.join(workspace, forget="seen").logs] == ["more"]
    with pytest.raises(WrongArgument, match="no log 'seen' was joined; there are: more"):
        steps.join(workspace, forget="seen")


def test_a_log_that_was_not_kept_whole_is_not_there(workspace, joined, log):
    (workspace / "behaviour" / "seen" / "join.toml").unlink()
    (said,) = steps.join(workspace).notes
    assert "seen was not kept whole" in said
    assert [one.name for one in steps.join(workspace, log).logs] == ["seen"]


def test_an_offset_moves_the_log_and_is_said(workspace, joined, log):
    where = workspace / "reports" / "join_observations.parquet"
    before = pl.read_parquet(where)
    clock = steps.ClockAsked(offset_s=2.5, uncertainty_s=0.1)
    moved = steps.join(workspace, log, clock=clock)
    assert (before["start_ms"] - pl.read_parquet(where)["start_ms"]).unique().to_list() == [2500]
    facts = json.loads((workspace / "reports" / "join.json").read_bytes())
    assert sorted(facts["at_offsets"]) == ["100 ms earlier", "100 ms later"]
    assert facts["settings"]["seen"]["clock"]["offset_ms"] == 2500
    assert moved.logs[0].states == joined.logs[0].states


def claps(folder: Path) -> Path:
    """Write five instants that the observer's clock showed 4 s ahead, good to 15 ms."""
    markers = folder / "claps.csv"
    begin = datetime(2024, 5, 6, 5, 0, tzinfo=UTC)
    rows = ["observer,recorder"]
    for hours, error_ms in ((0, 10), (7, -15), (12, 5), (18, -5), (25, 12)):
        at = begin + timedelta(hours=hours, milliseconds=1234 * hours + 567)
        seen = at + timedelta(milliseconds=4000 + error_ms)
        rows.append(f"{seen:%Y-%m-%d %H:%M:%S.%f},{at:%Y-%m-%d %H:%M:%S.%f}")
    markers.write_text("\n".join(rows) + "\n")
    return markers


def test_markers_tell_the_clock_and_correct_it_when_asked(workspace, log, tmp_path):
    markers = claps(tmp_path)
    told = steps.join(workspace, log, clock=steps.ClockAsked(markers=markers), settings=FEW)
    about = workspace / "behaviour" / "seen" / "join.toml"
    assert not read_config(about, kept.AboutLog).clock.is_corrected  # never in silence
    assert any("5 of 5 markers" in said for said in told.clocks)
    steps.join(workspace, log, clock=steps.ClockAsked(markers=markers, use_estimate=True))
    clock = read_config(about, kept.AboutLog).clock
    assert clock.is_corrected
    assert clock.offset_ms == pytest.approx(4001, abs=20)
    assert 0 < clock.uncertainty_ms < 100


def test_what_was_declared_of_a_clock_is_held_against_what_markers_tell(workspace, log, tmp_path):
    markers = claps(tmp_path)

    def asked(offset_s: float) -> steps.JoinReport:
        clock = steps.ClockAsked(offset_s=offset_s, uncertainty_s=0.2, markers=markers)
        return steps.join(workspace, log, clock=clock, settings=FEW)

    wrong = "corrected as if the observer's clock had stood 9 s ahead, but markers tell"
    assert any(wrong in limit for limit in asked(9).limits)
    right = asked(4)
    assert not any("as if the observer's clock" in limit for limit in right.limits)
    assert any("as declared: the observer's clock 4 s ahead (± 200 ms)" in s for s in right.clocks)
    paper = json.loads((workspace / "reports" / "join.json").read_bytes())["methods"]
    assert "was 4 s ahead of the recorder's (as declared; 95 % interval ± 200 ms" in paper


def test_what_is_found_must_be_so_at_the_ends_of_what_is_known_of_the_clock(
    workspace, log, tmp_path
):
    def at_offsets(**asked) -> list[str]:
        clock = steps.ClockAsked(**asked) if asked else None
        steps.join(workspace, log, clock=clock, settings=FEW)
        return list(json.loads((workspace / "reports" / "join.json").read_bytes())["at_offsets"])

    # The observer's clock stands 4.00 s ahead, to 27 ms: the times are later by that.
    markers = claps(tmp_path)
    for where in at_offsets(markers=markers):
        assert re.fullmatch(r"(3\.9[5-9]|4\.0[0-5]) s earlier", where), where
    early, late = at_offsets(markers=markers, use_estimate=True)
    assert (early.split()[-1], late.split()[-1]) == ("earlier", "later")
    assert early.split()[:2] == late.split()[:2]
    assert at_offsets(offset_s=4, uncertainty_s=0.25) == ["250 ms earlier", "250 ms later"]
    assert at_offsets() == ["2 s earlier", "2 s later"]  # nothing is known


def test_each_log_is_moved_by_what_is_known_of_its_own_clock(workspace, log, tmp_path):
    steps.join(workspace, log, clock=steps.ClockAsked(offset_s=1, uncertainty_s=0.25), settings=FEW)
    other = shutil.copy(log, tmp_path / "ben.csv")
    steps.join(workspace, other, clock=steps.ClockAsked(markers=claps(tmp_path)), settings=FEW)
    facts = json.loads((workspace / "reports" / "join.json").read_bytes())
    for end, where in zip(("earlier", "later"), facts["at_offsets"], strict=True):
        pattern = rf"those of ben [34]\.\d+ s earlier and those of seen 250 ms {end}"
        assert re.fullmatch(pattern, where), where


def test_an_offset_that_is_declared_with_an_uncertainty_is_known(workspace, log):
    said = steps.join(workspace, log, clock=steps.ClockAsked(uncertainty_s=0.3, offset_s=0)).limits
    assert not any("clock" in limit for limit in said)
    said = steps.join(workspace, log, clock=steps.ClockAsked(offset_s=0)).limits
    assert any("has no interval" in limit for limit in said)


def test_a_clock_of_which_nothing_is_known_is_not_corrected(workspace, log):
    log.write_text("\n".join(log.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(WrongArgument, match="cannot be corrected"):
        steps.join(workspace, log, clock=steps.ClockAsked(use_estimate=True))


def test_rows_that_are_left_out_are_a_limit_with_their_number(workspace, log, tmp_path):
    lines = log.read_text().splitlines()
    lines[2] = lines[2].replace("2024", "")
    log.write_text("\n".join(lines) + "\n")
    limits = steps.join(workspace, log, settings=FEW).limits
    said = f"seen: 1 of {len(lines) - 1} rows was left out (listed): what they saw counts as not"
    assert any(said in limit for limit in limits)
    assert said in (workspace / "reports" / "join.html").read_text(encoding="utf-8")

    film = tmp_path / "film.tsv"
    film.write_text(
        "Observation id,Media file name,Subject,Behavior,Behavior type,Time\n"
        "one,film.mp4,Alma,peck,START,1.5\none,film.mp4,Alma,caw,POINT,3\n"
    )
    limits = steps.join(workspace, film, settings=FEW).limits
    assert any("film: 1 of 2 rows was left out" in limit for limit in limits)


def test_what_was_seen_while_nothing_was_recorded_is_a_limit_with_its_number(workspace, log):
    lines = log.read_text().splitlines()
    n = len(lines) - 1
    site = lines[1].rpartition(",")[2]
    late = f"2024-05-08 05:00:00,2024-05-08 05:00:10,caw,Alma,{site}"
    log.write_text("\n".join([*lines, late, late.replace("caw", "peck")]) + "\n")
    limits = steps.join(workspace, log, settings=FEW).limits
    said = f"2 of {n + 2} observations fell when nothing was recorded: they take no part."
    assert said in limits
    assert said in (workspace / "reports" / "join.html").read_text(encoding="utf-8")


def test_names_of_sound_types_that_are_behaviours_are_warned_of(workspace, joined):
    steps.name_sound_type(workspace, 0, "territory caw")
    assert any("territory" in note for note in steps.join(workspace).notes)
    steps.name_sound_type(workspace, 0, "low double caw")
    assert not any("caw" in note for note in steps.join(workspace).notes)
    with pytest.raises(WrongArgument, match="there is no sound type 999"):
        steps.name_sound_type(workspace, 999, "x")
    with pytest.raises(WrongArgument, match="at most 80"):
        steps.name_sound_type(workspace, 0, "x" * 81)


def test_names_are_kept_as_they_are_read(workspace):
    steps.name_sound_type(workspace, 0, "  low   caw ")
    assert steps.name_sound_type(workspace, 1, "click").names == {0: "low caw", 1: "click"}
    assert steps.name_sound_type(workspace, 0, "").names == {1: "click"}


def test_a_merge_or_a_name_makes_the_join_stale_until_it_is_joined_again(workspace, joined):
    def state():
        return steps.status(workspace).stages["join"]

    steps.name_sound_type(workspace, 0, "low <i>caw</i>")
    assert state() == "stale"
    steps.join(workspace)
    assert state() == "done"
    before = steps.merge_sound_types(workspace, [0, 2]).sizes
    assert state() == "stale"
    steps.undo_edit(workspace)
    assert state() == "done"
    steps.merge_sound_types(workspace, [0, 2])
    steps.join(workspace)
    assert state() == "done"
    calls = pl.read_parquet(workspace / "reports" / "join.parquet")
    counted = dict(calls.filter(pl.col("sound_type") >= 0).group_by("sound_type").len().iter_rows())
    assert counted == before
    # The page of the archive shows them too.
    written = steps.report(workspace)
    assert written.clusters == len(before)
    assert "People edited the sound types: 1 merge." in written.notes
    page = (workspace / "reports" / "atlas.html").read_text(encoding="utf-8")
    assert set(map(int, re.findall(r'id="type-(\d+)"', page))) == set(before)
    assert "<h3>Type 0: low &lt;i&gt;caw&lt;/i&gt;</h3>" in page
    assert "<i>caw" not in page


def test_the_page_is_drawn_where_recordings_have_gone_since_grouping(workspace):
    with Workspace(workspace).catalogue() as catalogue:
        exemplar = catalogue.some_events([sound_types(catalogue).exemplars[0][0]])
        gone = next(iter(exemplar.values())).recording_id
        files = [file for file in catalogue.files() if file.recording_id == gone]
        catalogue.add([], [], [], retired=files)
        catalogue.set_stage("index", replace(catalogue.stage("index"), finished=True))
    steps.report(workspace)
    page = (workspace / "reports" / "atlas.html").read_text(encoding="utf-8")
    assert files[0].path not in page


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name a log, or give --report"),
        (("--report",), 2, "no log was joined yet"),
        (("--report", "{log}"), 2, "leave --report out"),
        (("nowhere.csv",), 2, "nowhere.csv cannot be read"),
        (("{log}", "--time", "hour"), 2, "hour"),
        (("{log}", "--offset-s", "1", "--correct-clock"), 2, "not both"),
        (("{log}", "--drift-ppm", "3"), 2, "go with --offset-s"),
        (("{log}", "--set", "permutations=-1"), 2, "permutations must not be negative"),
        (("{log}", "--set", "tolerance_ms=3"), 2, "there is no setting tolerance_ms"),
        (("{log}", "--name", "../x"), 2, "a log cannot be called '../x'"),
        (("{log}", "--recorded", "{log}"), 2, "--recorded needs a column path"),
        (("{log}", "--markers", "{log}"), 2, "markers need a column observer"),
        (("{log}", "--forget", "x"), 2, "no log 'x' was joined"),
        (("{log}", "--timezone", "Europe/Lundon"), 2, "did you mean Europe/London"),
    ],
)
def test_wrong_use_is_told_apart_and_leaves_nothing(workspace, log, capsys, arguments, code, words):
    words_given = [str(one).format(log=log) for one in arguments]
    assert run(["join", *words_given, "-w", str(workspace)]) == code
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert "Traceback" not in said
    assert not list((workspace / "reports").glob("join*"))


def test_the_command_says_what_can_be_said(workspace, log, capsys):
    settings = ["--set", "permutations=199"]
    assert run(["join", str(log), "-w", str(workspace), *settings]) == 0
    said = capsys.readouterr().out
    assert "How the log was read" in said
    assert "join.html" in said
    assert "goes with" in said or "an be said" in said or "stood out" in said
    assert run(["join", "--report", "--json", "-w", str(workspace)]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] > 0


def test_without_sound_types_there_is_nothing_to_join(tmp_path, archive, log, capsys):
    folder = tmp_path / "new.oscine"
    steps.index([archive], folder, workers=1, settings=tiny.SETTINGS)
    assert run(["join", str(log), "-w", str(folder)]) == 1
    assert "run `oscine cluster` first" in capsys.readouterr().err


def test_a_table_of_recordings_gives_times_sites_and_callers(tmp_path):
    file = tmp_path / "when.csv"
    file.write_text(
        "path,recorded_at,site,caller,label\n"
        "a/1.wav,2024-05-01T12:00:00,north,Ann,crow\n"
        "b\\2.wav,2024-05-01T12:00:00+02:00,,,jay\n"
        "a/3.wav,,south,,\n"
        "a/4.wav,noon,,,\n"
        "a/none.wav,2024-05-01T13:00:00,,,\n"
    )
    told = read_recorded(file, "Europe/London")
    assert any("1 of its times cannot be used (line 5)" in said for said in told.said)
    known = pl.DataFrame(
        [(n, f"x/{'b' if n == 2 else 'a'}/{n}.wav", "old", 5, 1000) for n in range(1, 5)],
        schema=dict(RECORDINGS),
        orient="row",
    )
    recordings, n_missing = applied(known, told.recordings)
    assert n_missing == 1
    assert recordings["start_ms"].to_list() == [
        to_ms("2024-05-01T11:00:00+00:00"),
        to_ms("2024-05-01T10:00:00+00:00"),
        5,
        5,
    ]
    assert recordings["site"].to_list() == ["north", "old", "south", "old"]
    assert recordings["caller"].to_list() == ["Ann", "", "", ""]
    with pytest.raises(WrongArgument, match="state no zone"):
        read_recorded(file, "")


def test_a_marker_that_cannot_be_read_is_refused(tmp_path):
    file = tmp_path / "claps.csv"
    rows = ["2024-05-01 12:00:01,2024-05-01 12:00:00", "2024-05-01 12:30:01,2024-05-01 12:30:00"]
    file.write_text("\n".join(["Observer,Recorder", *rows]) + "\n")
    table, _ = read_markers(file, "Europe/London")
    assert (table["observer_ms"] - table["recorder_ms"]).to_list() == [1000, 1000]
    assert table["marker"].to_list() == ["line 2", "line 3"]
    file.write_text("\n".join(["Observer,Recorder", *rows, "2024-05-01 13:00:01,"]) + "\n")
    with pytest.raises(WrongArgument, match="line 4, Recorder: it has no time"):
        read_markers(file, "Europe/London")


def test_a_log_that_names_recordings_without_a_time_takes_no_clock(tmp_path):
    """Its rows state times as well, but there is nothing to hold them against."""
    recordings = pl.DataFrame(
        [(n, f"clip_{n}.wav", "", None, 60_000) for n in range(4)],
        schema=dict(RECORDINGS),
        orient="row",
    ).with_columns(caller=pl.lit(""))
    rows = [
        (
            n,
            n % 4,
            f"clip_{n % 4}.wav",
            "",
            "",
            -1 if n % 2 else 0,
            None,
            None,
            900 * n,
            900 * n + 300,
        )
        for n in range(60)
    ]
    calls = pl.DataFrame(rows, schema=dict(CALLS), orient="row")
    lines = [("date", "time", "audio_marker", "feeding", "hiding")]
    lines += [
        ("31.05.24", f"12{n:02}00", "" if n > 3 else f"clip_{n}", n % 2, "") for n in range(20)
    ]
    found = analysed(lines, calls, recordings, tmp_path)
    (told,) = found.clocks
    assert not told.state.is_needed
    assert "no recording has a time" in " ".join(told.page.said)
    assert found.at_offsets == {}
    assert found.association.n_calls == 60
    assert found.association.n_ungrouped == 30
    none = analysed(
        lines, calls, recordings.with_columns(path=pl.format("far{}", "path")), tmp_path
    )
    assert none.clocks[0].page.said == ["None of its rows is joined, so the clocks take no part."]


def test_dates_of_markers_and_recordings_are_asked_for_or_read_as_declared(tmp_path):
    claps, when = tmp_path / "claps.csv", tmp_path / "when.csv"
    claps.write_text("observer,recorder\n03/04/24 12:00:01,03/04/24 12:00:00\n")
    when.write_text("path,recorded_at\na.wav,03/04/24 12:00:00\n")
    for read in (read_markers, read_recorded):
        file = claps if read is read_markers else when
        with pytest.raises(WrongArgument, match=r"3 April 2024.* or 4 March 2024.*--date-format"):
            read(file, "UTC")
    april = to_ms("2024-04-03T12:00:00+00:00")
    markers, said = read_markers(claps, "UTC", prefer="dmy")
    assert (markers["recorder_ms"][0], said) == (april, ())
    assert read_recorded(when, "UTC", prefer="dmy").recordings["start_ms"][0] == april
    markers, (said, _) = read_markers(claps, "UTC", days=[april // 86_400_000])
    assert markers["recorder_ms"][0] == april
    assert "claps.csv, observer: dates are read as day.month.year" in said


# The house sparrows: their times were taken from the log


@pytest.fixture(scope="module")
def sparrows(real_data):
    """The log's lines, and calls and recordings of the 20 clips, two calls each."""
    file = real_data / "behaviour" / "house_sparrow_observations.csv"
    with (real_data / "labels.csv").open(newline="") as opened:
        clips = [one for one in csv.DictReader(opened) if "house_sparrow/" in one["path"]]
    starts = [to_ms(f"{one['recorded_at']}+01:00") for one in clips]
    recordings = pl.DataFrame(
        [
            (n, one["path"], "", start, 7000)
            for n, (one, start) in enumerate(zip(clips, starts, strict=True))
        ],
        schema=dict(RECORDINGS),
        orient="row",
    ).with_columns(caller=pl.lit(""))
    rows = [
        (2 * n + again, n, one["path"], "", "", again, start + at, start + at + 300, at, at + 300)
        for n, (one, start) in enumerate(zip(clips, starts, strict=True))
        for again, at in enumerate((500, 4000))
    ]
    calls = pl.DataFrame(rows, schema=dict(CALLS), orient="row")
    with file.open(newline="", encoding="utf-8-sig") as opened:
        return list(csv.reader(opened)), calls, recordings


def analysed(lines, calls, recordings, folder):
    file = folder / "sparrows.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(lines)
    log = read_log(file, LogConfig(time=("date", "time"), timezone="Europe/London"))
    about = kept.AboutLog(file=file.name, content_hash="", log=log.config)
    logs = [KeptLog(about=about, log=log, markers=empty(MARKERS))]
    config = AnalysisConfig(permutations=199)
    return analyse(logs, calls, recordings, config, lambda *_: None)


def test_times_that_agree_to_the_second_are_said_to_agree_by_construction(sparrows, tmp_path):
    found = analysed(*sparrows, tmp_path)
    (told,) = found.clocks
    assert told.state.is_by_construction
    assert told.state.n_markers == 20
    assert any("20 of 20" in said for said in told.page.said)
    assert told.problems == ()
    assert (found.joined.calls["status"] == "observed").all()
    assert found.association.n_found == 0


def test_five_planted_errors_are_found_and_listed(sparrows, tmp_path):
    lines, calls, recordings = sparrows
    lines = [list(line) for line in lines]
    marker, date, time = (lines[0].index(name) for name in ("audio_marker", "date", "time"))
    of = {line[marker]: number for number, line in enumerate(lines) if line[marker]}
    named = [
        key
        for key in of
        if any(path.rpartition("/")[2].startswith(f"{key}_") for path in recordings["path"])
    ]
    hour, day, minute, one, other = (of[key] for key in named[3:8])
    lines[hour][time] = str(int(lines[hour][time]) + 10_000)
    lines[day][date] = f"{int(lines[day][date][:2]) + 1:02}{lines[day][date][2:]}"
    lines[minute][time] = str(int(lines[minute][time]) - 200)
    for column in (date, time):  # of two rows that were exchanged
        lines[one][column], lines[other][column] = lines[other][column], lines[one][column]
    (told,) = analysed(lines, calls, recordings, tmp_path).clocks
    found = {problem.row: problem.what for problem in told.problems}
    assert sorted(found) == sorted(number + 1 for number in (hour, day, minute, one, other))
    assert "an hour" in found[hour + 1] or "1 h" in found[hour + 1]
    assert "day" in found[day + 1]
    assert f"row {other + 1}" in found[one + 1]
