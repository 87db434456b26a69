"""What a person does on the page of `oscine explore`, in a real browser, with a small archive."""

import io
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import explorer_page
import httpx
import numpy as np
import pytest
import soundfile
import tiny
from atlas_server import served
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from oscine import steps
from oscine.atlas.explorer.columns import packed, unpacked
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
pytestmark = pytest.mark.skipif(
    explorer_page.CHROMIUM is None, reason=f"no browser: none of {', '.join(explorer_page.NAMES)}"
)

WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
EVERYWHERE = "-999,-999,999,-999,999,999,-999,999"  # A lasso around all.
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=1, recording_s=10))
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", folder)


@pytest.fixture(scope="module")
def address(workspace):
    """Where the real server answers, in a thread."""
    with served(workspace) as client:
        yield f"http://127.0.0.1:{client.base_url.port}"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = explorer_page.CHROMIUM
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_of(browser, address):
    """Open pages; in the end none of them may have complained."""
    complaints, contexts = [], []

    def open_page(state="", size=WIDE, is_troubled=False, **settings):
        context = browser.new_context(viewport=size, **settings)
        contexts.append(context)
        page = context.new_page()
        # The first route of a page that is open already may come later than what it asks next.
        page.route("**/asked/by/nobody", lambda route: route.abort())
        if not is_troubled:
            page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/#{state}")
        page.wait_for_selector("body:not(.starting)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


POINTS = """Promise.all([import("/static/atlas.js"), import("/static/mapview.js")]).then(
    ([{ points }, { drawnAt }]) => ({
        event: Array.from(points.event), hour: Array.from(points.hour), places: drawnAt(),
        x: Array.from(points.x), y: Array.from(points.y) }))"""


class Map:
    """Where on the screen the points of a page's map lie."""

    def __init__(self, page):
        self.page = page
        self.box = page.locator("#map").bounding_box()
        self.points = page.evaluate(POINTS)
        self.left, self.top = np.array(self.points["places"]).T

    def lonely(self):
        """Return the row of a point that no other is near, away from the buttons."""
        apart = np.hypot(self.left - self.left[:, None], self.top - self.top[:, None])
        np.fill_diagonal(apart, np.inf)
        return int(np.argmax(np.where(self.top > 60, apart.min(axis=0), 0)))

    def on_screen(self, row):
        return self.box["x"] + self.left[row], self.box["y"] + self.top[row]

    def colour(self, row):
        """Return what is drawn in the middle of a point."""
        place = [round(float(at)) for at in (self.left[row], self.top[row])]
        look = "([x, y]) => [...document.querySelector('#map canvas').getContext('2d')"
        return self.page.evaluate(f"{look}.getImageData(x, y, 1, 1).data].slice(0, 3)", place)


def test_a_point_is_seen_when_pointed_at_and_heard_in_context_when_clicked(page_of, workspace):
    page = page_of()
    expect(page.locator("#summary")).to_contain_text("6 recordings")
    shown = Map(page)
    row = shown.lonely()
    page.mouse.move(*shown.on_screen(row))
    strip = page.locator(".hover img")
    expect(strip).to_be_visible()
    expect(strip).to_have_js_property("complete", True)
    assert strip.evaluate("(image) => image.naturalWidth") > 0

    page.mouse.click(*shown.on_screen(row))
    event = shown.points["event"][row]
    expect(page).to_have_url(re.compile(f"event={event}"))
    expect(page.locator("#call-heading")).to_have_text(f"Call {event}")
    audio = page.locator("#audio")
    expect(audio).not_to_have_js_property("currentTime", 0)
    assert audio.evaluate("(audio) => audio.error") is None

    stored = Workspace(workspace)
    with stored.catalogue() as catalogue:
        (one,) = [each for each in catalogue.events() if each.event_id == event]
        recording = {each.recording_id: each for each in catalogue.recordings()}[one.recording_id]
    heard, rate_hz = soundfile.read(io.BytesIO(httpx.get(audio.evaluate("(a) => a.src")).content))
    whole, true_hz = soundfile.read(f"{recording.root}/{recording.path}")
    assert rate_hz == true_hz
    start, stop = (
        int(re.search(rf"{name}=(\d+)", audio.evaluate("(a) => a.src")).group(1))
        for name in ("start_sample", "stop_sample")
    )
    assert start <= one.start_sample < one.stop_sample <= stop
    np.testing.assert_allclose(heard, whole[start:stop], atol=2**-14)


def test_slower_sound_takes_longer_and_the_cursor_goes_over_the_picture(page_of):
    page = page_of("event=1&speed=0.1")
    page.locator("#play").click()
    cursor = page.locator("#call .cursor")
    expect(cursor).to_be_visible()
    before = cursor.evaluate("(cursor) => cursor.style.transform")
    expect(cursor).not_to_have_js_property("style.transform", before)
    src = page.locator("#audio").evaluate("(audio) => audio.src")
    slow, fast = (
        soundfile.info(io.BytesIO(httpx.get(src.replace("speed=0.1", f"speed={speed}")).content))
        for speed in ("0.1", "1")
    )
    assert slow.duration == pytest.approx(10 * fast.duration, rel=0.01)


def test_a_lasso_gives_a_list_that_is_heard_in_turn(page_of):
    page = page_of()
    shown = Map(page)
    x, y, width, height = (shown.box[name] for name in ("x", "y", "width", "height"))
    page.locator("#lasso").click()
    page.mouse.move(x + 3, y + 60)
    page.mouse.down()
    for to in ((x + width / 2, y + 60), (x + width / 2, y + height - 3), (x + 3, y + height - 3)):
        page.mouse.move(*to, steps=10)
    page.mouse.up()
    inside = (shown.left < width / 2) & (shown.top > 60)
    assert 0 < inside.sum() < len(inside)
    expect(page.locator("#selection-heading")).to_have_text(f"{inside.sum()} calls")
    strips = page.locator("#selection .strip")
    assert strips.count() == min(60, inside.sum())

    page.locator("#run").click()
    first, second = (strips.nth(n).get_attribute("data-event") for n in (0, 1))
    expect(page).to_have_url(re.compile(f"event={first}(&|$)"))
    expect(page).to_have_url(re.compile(f"event={second}(&|$)"))
    page.go_back()
    expect(page.locator("#selection-heading")).to_have_count(0)


def test_no_point_lies_under_the_buttons_while_all_are_seen(page_of):
    for size in (WIDE, PHONE, {"width": 1600, "height": 700}):
        page = page_of("", size)
        shown = Map(page)
        tools = page.locator(".map-tools").bounding_box()
        below = tools["y"] + tools["height"] - shown.box["y"]
        assert below < shown.top.min()
        assert shown.top.max() < shown.box["height"]


def test_what_is_listed_is_what_is_in_sight_however_far_it_is_magnified(page_of):
    whole = Map(page_of())
    x, y = (whole.points[axis][whole.lonely()] for axis in "xy")
    page = page_of(f"at={x},{y},3000")
    near = Map(page)
    inside = (near.left >= 0) & (near.left <= near.box["width"])
    inside &= (near.top >= 0) & (near.top <= near.box["height"])
    assert inside.sum() == 1
    page.locator("#list").click()
    expect(page.locator("#selection-heading")).to_have_text("1 call")
    page.reload()
    expect(page.locator("#selection-heading")).to_have_text("1 call")
    np.testing.assert_allclose(Map(page).left[inside], near.left[inside], atol=2)


def test_the_command_to_take_calls_home_is_text_for_a_shell(page_of):
    condition = """path != 'a"; $HOME `b` \\'"""
    page = page_of(f"lasso={EVERYWHERE}&where={quote(condition)}")
    page.locator("#selection summary").click()
    command = page.locator("#selection code").inner_text()
    written = command.replace("oscine", "printf '%s|'", 1)
    said = subprocess.run(["sh", "-c", written], capture_output=True, text=True, check=True).stdout
    assert condition in said.split("|")


def test_the_command_to_take_calls_home_works_as_it_is_and_names_all_types(
    page_of, workspace, tmp_path
):
    page = page_of(f"lasso={EVERYWHERE}")
    page.locator("#selection summary").click()
    code = page.locator("#selection code")
    command = code.inner_text()
    with Workspace(workspace).catalogue() as catalogue:
        kinds = {row[4] for block in catalogue.calls() for row in block}
    assert {int(number) for number in re.findall(r"--cluster (\S+)", command)} == kinds
    here = command.replace("oscine", f"{sys.executable} -m oscine", 1)
    ran = subprocess.run(["sh", "-c", here], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert list((tmp_path / "clips").rglob("*.wav"))

    altering(page, "/api/atlas", workspace="")  # as whoever typed a token is told
    page.locator("#selection summary").click()
    expect(code).to_contain_text("-w WORKSPACE")
    expect(page.locator("#selection")).to_contain_text("WORKSPACE stands for the folder")


def test_names_are_new_in_the_list_of_the_lasso_too(page_of):
    page = page_of(f"lasso={EVERYWHERE}&view=types")
    chips = page.locator("#selection .chips")
    expect(chips).to_contain_text("Type 0")
    page.get_by_role("button", name="Name Type 0").click()
    page.get_by_label("Name", exact=True).fill("rattle")
    page.get_by_label("Who are you?").fill("  ")
    page.keyboard.press("Enter")
    expect(page.locator("#dialog")).to_be_visible()  # nobody is no one
    page.get_by_label("Who are you?").fill("Ada")
    page.keyboard.press("Enter")
    expect(chips).to_contain_text("rattle")
    page.locator("#done").get_by_role("button", name="Undo").click()
    expect(chips).not_to_contain_text("rattle")


def test_however_many_sounds_were_begun_one_is_followed(page_of):
    page = page_of()
    told = page.evaluate("""async () => {
        const { play } = await import("/static/player.js");
        const { recordingOf } = await import("/static/atlas.js");
        const whole = await recordingOf(1);
        for (let n = 0; n < 8; n++) play({ ...whole, recording: 1 }, 0, 5);
        let [told, frames] = [0, 0];
        addEventListener("position", () => told++);
        await new Promise((done) => {
            const frame = () => (++frames < 20 ? requestAnimationFrame(frame) : done());
            requestAnimationFrame(frame);
        });
        return told / frames;
    }""")
    assert 0 < told <= 1.1


def test_a_picture_is_as_light_as_those_of_the_atlas_until_somebody_says_otherwise(page_of):
    range_db = page_of().evaluate("""async () => {
        const { Sonogram } = await import("/static/sonogram.js");
        const one = new Sonogram();
        one.range_db = [-60, -20];
        return one.range();
    }""")
    assert range_db == [-60, -20]


WAVE_OF = """async ([duration_s, ...views]) => {
    const { Sonogram } = await import("/static/sonogram.js");
    const one = (window.one = new Sonogram());
    document.body.append(one.element);
    one.setRecording({ recording: 1, duration_s, has_sound: true });
    for (const [from_s, to_s] of views) {
        one.setView(from_s, to_s);
        await new Promise((done) => setTimeout(done, 300)); // until it is asked for
    }
    while (!one.waveform) await new Promise(requestAnimationFrame);
    return [one.waveform.start_s, one.waveform.stop_s];
}"""


def test_a_waveform_that_is_shorter_than_asked_for_lies_where_it_is(page_of):
    """A file may end before its header says."""
    page = page_of(is_troubled=True)
    assert page.evaluate(WAVE_OF, [40, [0, 40]]) == [0, 10]


def test_a_waveform_that_comes_late_does_not_take_the_place_of_the_one_in_sight(page_of):
    page = page_of()
    with late(page, "/api/recordings/1/waveform?start_s=1&*"):
        assert page.evaluate(WAVE_OF, [10, [1, 3], [4, 6]]) == [4, 6]
    assert page.evaluate("window.one.waveform.start_s") == 4


def test_a_minute_is_told_as_it_is_though_hours_are_not_exact(page_of):
    told = page_of().evaluate("""import("/static/words.js").then(({ hourText }) =>
        [5.1, 5.0997, 23.983333, 0, 24].map((hour) => hourText(Math.fround(hour))))""")
    assert told == ["05:06", "05:05", "23:59", "00:00", "24:00"]


def test_points_of_another_archive_are_not_coloured_by_the_answers_of_this_one(page_of):
    page = page_of()
    page.evaluate("import('/static/atlas.js').then(({ points }) => (points.sample = 'another'))")
    page.locator("#where").fill("hour < 25")
    page.locator("#where").press("Enter")
    expect(page.locator("#where-trouble")).to_contain_text("load the page again")
    page.reload()
    expect(page.locator("#where-trouble")).to_be_empty()
    expect(page.locator("#shown")).to_contain_text("calls")


def test_a_call_is_shown_again_after_a_sound_of_ones_own(page_of, tmp_path):
    page = page_of("event=1", is_troubled=True)
    expect(page.locator("#call-heading")).to_have_text("Call 1")
    soundfile.write(tmp_path / "mine.wav", np.zeros(800), 8000)
    page.route("**/api/similar?*", lambda route: route.abort())
    page.locator("#own-sound").set_input_files(tmp_path / "mine.wav")
    expect(page.locator("#call-heading")).to_have_text("mine.wav")
    page.unroute("**/api/similar?*")
    page.locator("#where").fill("1")
    page.locator("#where").press("Enter")
    expect(page.locator("#call-heading")).to_have_text("Call 1")


def test_points_take_the_colour_of_their_hour_and_the_legend_hides_them(page_of):
    page = page_of("colour=hour")
    shown = Map(page)
    row = shown.lonely()
    hour = int(shown.points["hour"][row])
    chip = page.locator(f"#legend [data-id='{hour}']")
    tint = chip.locator(".level").evaluate("(one) => getComputedStyle(one).backgroundColor")
    expected = [int(part) for part in re.findall(r"\d+", tint)]
    assert shown.colour(row) == pytest.approx(expected, abs=2)
    apart = np.hypot(shown.left - shown.left[row], shown.top - shown.top[row])
    other = int(np.argmax(np.where(np.array(shown.points["hour"]) // 1 == hour, 0, apart)))
    before = shown.colour(other)
    chip.click()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert shown.colour(other) == before  # though the pointer still lies on what was hidden
    page.mouse.move(1, 1)
    expect(page.locator("#shown")).to_contain_text("shown")
    expect(page).to_have_url(re.compile(rf"colour=hour&(hidden={hour}|only=.+)$"))
    page.evaluate("new Promise(requestAnimationFrame)")
    assert shown.colour(row) != pytest.approx(expected, abs=2)
    page.locator("#colour").select_option("type")
    expect(page.locator("#legend")).to_contain_text("Type 0")
    assert Map(page).colour(row) != pytest.approx(expected, abs=2)


def test_the_address_names_what_is_hidden_whatever_people_called_it(page_of):
    """By their numbers, labels would be others as soon as more were imported."""
    page = page_of()
    events = page.evaluate(POINTS)["event"]
    grouping = page.evaluate("import('/static/atlas.js').then(({ atlas }) => atlas.grouping)")

    def labelled(names):
        altering(page, "/api/atlas", labels=[{"name": "kind", "values": len(names)}])
        value = np.arange(len(events), dtype=np.int32) % len(names)
        sample = page.evaluate("import('/static/atlas.js').then(({ points }) => points.sample)")
        said = {"grouping": grouping, "sample": sample, "values": names}
        body = packed({"value": value}, **said)
        kind = "application/octet-stream"
        page.unroute("**/api/points/label/*")
        page.route("**/api/points/label/*", lambda one: one.fulfill(body=body, content_type=kind))
        page.evaluate(GO, {"colour": "label:kind"})

    names = ["caw, loud", "none", ":others", "50 %"]
    labelled(names)
    chips = {
        name: page.get_by_role("button", name=re.compile(f"^{re.escape(name)}")) for name in names
    }
    for name in names[:2]:
        chips[name].click()
        expect(chips[name]).to_have_attribute("aria-pressed", "false")
    address = page.url
    labelled(["a new one", *names])
    page.goto(address)
    page.reload()
    for name, chip in chips.items():
        expect(chip).to_have_attribute("aria-pressed", str(name not in names[:2]).lower())


def test_the_address_holds_how_a_call_is_seen(page_of):
    page = page_of("event=1")
    seen = """import("/static/call.js").then(({ seen }) => seen())"""
    plain = page.evaluate(seen)
    assert [plain[name] for name in ("isFilled", "darker", "span")] == [False, 0, 0]
    page.get_by_label("Darker").fill("0.25")
    page.get_by_label("Contrast").fill("-0.5")
    page.locator("#call").get_by_role("button", name="Magnify").click()
    expect(page).to_have_url(re.compile(r"zoom=[\d.]+,[\d.]+$"))
    page.get_by_role("button", name="Fill with call").click()
    page.locator("#call").get_by_role("button", name="Magnify").click()
    expect(page.locator("#fill")).to_have_attribute("aria-pressed", "true")
    magnified = page.evaluate(seen)
    assert magnified["isFilled"]
    assert magnified["stop_s"] - magnified["start_s"] < plain["stop_s"] - plain["start_s"]
    assert (magnified["darker"], magnified["span"]) == (0.25, -0.5)

    other = page_of(page.url.split("#")[1])
    expect(other.locator("#fill")).to_have_attribute("aria-pressed", "true")
    assert other.evaluate(seen) == pytest.approx(magnified, abs=0.001)
    expect(other.get_by_label("Darker")).to_have_value("0.25")
    other.keyboard.press("n")
    expect(other.locator("#call-heading")).not_to_have_text("Call 1")
    expect(other).not_to_have_url(re.compile("zoom="))
    expect(other).to_have_url(re.compile("contrast="))
    expect(other.locator("#fill")).to_have_attribute("aria-pressed", "false")
    other.goto(page.url)
    other.reload()
    other.get_by_role("button", name="Fill with call").click()
    expect(other.locator("#fill")).to_have_attribute("aria-pressed", "false")
    expect(other).not_to_have_url(re.compile("zoom="))
    assert other.evaluate(seen)["start_s"] == pytest.approx(plain["start_s"])


def test_a_name_is_kept_and_can_be_taken_back(page_of):
    """A name that is a script stays a name."""
    name = "<img src=x onerror=alert(1)> caw"
    page = page_of("view=types")
    heading = page.locator("#type-0 h3")
    expect(heading).to_have_text("Type 0")
    page.get_by_role("button", name="Name Type 0").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Who are you?").fill("Ada")
    page.keyboard.press("Enter")
    expect(heading).to_contain_text(name)
    page.reload()
    expect(heading).to_contain_text(name)
    page.locator("summary", has_text="What was named").click()
    expect(page.locator("#history")).to_contain_text("Ada")
    page.locator("#history").get_by_role("button", name="Undo").click()
    expect(heading).to_have_text("Type 0")
    page.reload()
    expect(heading).to_have_text("Type 0")


def test_a_name_that_was_taken_back_by_an_empty_one_is_told_as_that(page_of):
    page = page_of()
    made = {"who": "Ada", "made_ms": 0}
    names = [{"name": "caw", **made}, {"name": "", **made}]
    card = page.evaluate("fetch('/api/types/0').then((one) => one.json())")
    answering(page, "/api/types/0*", card | {"names": names})
    page.keyboard.press("2")
    facts = page.locator("#type-0 .facts")
    expect(facts).to_contain_text(re.compile("Called “caw” by Ada, .*Name taken away by Ada, "))
    expect(facts).not_to_contain_text("“”")


def test_labels_that_came_since_can_colour_the_map(page_of):
    page = page_of("colour=hour")
    atlas = page.evaluate("fetch('/api/atlas').then((one) => one.json())")
    labels = [{"name": "species", "values": ["crow"]}]
    answering(page, "/api/atlas", atlas | {"labels": labels})
    page.evaluate("import('/static/atlas.js').then(({ reload }) => reload())")
    choice = page.locator("#colour")
    expect(choice.locator("option[value='label:species']")).to_have_count(1)
    expect(choice).to_have_value("hour")


def test_types_are_merged_and_that_is_undone(page_of):
    page = page_of("view=types")
    cards = page.locator(".type")
    expect(cards.nth(1)).to_be_visible()
    n_types = cards.count()
    summary = page.locator("#summary")
    expect(summary).to_contain_text(f"{n_types} sound types")
    page.get_by_label("Choose Type 0 for merging").check()
    page.get_by_label("Choose Type 1 for merging").check()
    page.get_by_role("button", name="Merge 2").click()
    page.get_by_label("Who are you?").fill("Ada")
    page.get_by_role("button", name="Merge them").click()
    expect(cards).to_have_count(n_types - 1)
    expect(summary).to_contain_text(f"{n_types - 1} sound type")
    expect(page.locator("#notes")).to_contain_text("People edited the sound types")
    page.locator("summary", has_text="What was named").click()
    history = page.locator("#history .controls")
    expect(history).to_contain_text(
        re.compile("Undo the last change.*Merged 1 into 0. By Ada", re.DOTALL)
    )
    page.locator("#done").get_by_role("button", name="Undo").click()
    expect(cards).to_have_count(n_types)


def test_a_name_for_a_type_that_was_regrouped_meanwhile_is_not_given_to_another(page_of, workspace):
    """What the page shows then are the types of now."""
    page = page_of("view=types", is_troubled=True)
    cards = page.locator(".type")
    expect(cards.nth(2)).to_be_visible()
    n_types = cards.count()
    steps.merge_sound_types(workspace, [1, 2], who="Eve")
    page.get_by_role("button", name="Name Type 1").click()
    page.get_by_label("Name", exact=True).fill("caw")
    page.get_by_label("Who are you?").fill("Ada")
    page.keyboard.press("Enter")
    expect(page.locator("#trouble")).to_contain_text(
        re.compile("^Nothing was changed.*what there is now")
    )
    expect(cards).to_have_count(n_types - 1)
    expect(page.locator("#type-1 h3")).to_have_text("Type 1")
    steps.undo_edit(workspace, who="Eve")


GO = "(to) => import('/static/state.js').then(({ go }) => go(to))"


def test_sound_types_that_somebody_else_regrouped_are_new_wherever_they_are_seen(
    page_of, workspace
):
    """The number of one is then that of another, on the map, in lists, and in conditions."""
    page = page_of("view=layers", is_troubled=True)  # a type that is gone has no card
    summary = page.locator("#summary")
    n_types = int(re.search(r"(\d+) sound type", summary.inner_text()).group(1))
    ways = ("event=1", "like=1", "where=cluster = 0", "view=recordings&recording=2", "view=types")
    for n, way in enumerate(ways):
        if n % 2:
            steps.undo_edit(workspace, who="Eve")
        else:
            steps.merge_sound_types(workspace, [1, 2], who="Eve")
        page.evaluate(GO, dict(one.split("=", 1) for one in way.split("&")))
        expect(summary, way).to_contain_text(f"{n_types - 1 + n % 2} sound type")
        expect(page.locator("#done")).to_contain_text("The sound types have changed")
    expect(page.locator("#where-trouble")).to_be_empty()
    steps.undo_edit(workspace, who="Eve")
    page.reload()
    expect(summary).to_contain_text(f"{n_types} sound type")
    page.route(re.compile("/api/types/[^2]"), lambda _: None)  # are not there yet
    steps.merge_sound_types(workspace, [1, 2], who="Eve")
    page.evaluate(GO, {"view": "types", "type": "2"})
    expect(page.locator(".type")).to_have_count(n_types - 1)
    steps.undo_edit(workspace, who="Eve")


def test_points_are_named_as_the_answer_with_their_numbers_names_them(page_of, address):
    """Labels were imported, or sites renamed, since the page asked what there is."""
    page, said = page_of(), httpx.get(f"{address}/api/atlas").json()
    labels = [{"name": "species", "values": ["crow", "jay"]}]
    altering(page, "/api/atlas", labels=labels, sites=[f"not {one}" for one in said["sites"]])
    page.locator("#colour").select_option("site")
    legend = page.locator("#legend")
    expect(legend).to_contain_text(said["sites"][0])
    expect(legend).not_to_contain_text("not ")

    values = np.ones(page.evaluate(POINTS + ".then(({ x }) => x.length)"), np.int16)
    sample = page.evaluate("import('/static/atlas.js').then(({ points }) => points.sample)")
    of = {"sample": sample, "grouping": said["grouping"], "values": ["ani", "crow", "jay"]}
    body = packed({"value": values}, **of)
    kind = "application/octet-stream"
    page.route("**/api/points/label/*", lambda one: one.fulfill(body=body, content_type=kind))
    page.locator("#colour").select_option("label:species")
    expect(legend).to_contain_text("crow")


def test_a_name_that_another_run_is_in_the_way_of_is_not_lost(page_of, workspace):
    page = page_of("view=types", is_troubled=True)
    page.get_by_role("button", name="Name Type 1").click()
    with Workspace(workspace).alone():
        page.get_by_label("Name", exact=True).fill("low caw")
        page.get_by_label("Who are you?").fill("Ada")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_contain_text("waiting for it")
        expect(page.locator("#trouble")).to_contain_text("in use by another run")
    page.get_by_role("button", name="Name Type 1").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("low caw")
    page.keyboard.press("Enter")
    expect(page.locator("#type-1 h3")).to_contain_text("low caw")
    page.locator("#done").get_by_role("button", name="Undo").click()
    expect(page.locator("#type-1 h3")).to_have_text("Type 1")


def test_the_next_call_is_the_first_where_none_is_chosen_and_the_last_says_so(page_of):
    page = page_of()
    page.keyboard.press("n")
    heading = page.locator("#call-heading")
    expect(heading).to_have_text("Call 1")
    n_calls = len(httpx.get(f"{page.url.partition('#')[0]}api/recordings/1").json()["events"])
    for number in range(2, n_calls + 1):
        page.keyboard.press("n")
        expect(heading).to_have_text(f"Call {number}")
    page.keyboard.press("n")
    expect(page.locator("#done")).to_have_text("This is the last call of its recording.")


def test_the_next_call_is_the_first_of_those_chosen_where_none_is_heard_yet(page_of):
    points = Map(page_of()).points
    last = int(np.argmax(points["event"]))
    around = [(x, y) for x in (-1e-3, 1e-3) for y in (-1e-3, 1e-3)]
    around[2:] = reversed(around[2:])
    corners = [(points["x"][last] + x, points["y"][last] + y) for x, y in around]
    page = page_of(f"lasso={','.join(f'{value:.5f}' for corner in corners for value in corner)}")
    expect(page.locator("#selection .strip").first).to_be_visible()
    first = page.locator("#selection .strip").first.get_attribute("data-event")
    page.keyboard.press("n")
    assert first != "1"
    expect(page.locator("#call-heading")).to_have_text(f"Call {first}")


def test_an_address_opens_what_it_says(page_of):
    page = page_of("view=recordings&recording=2&event=3&text=flac")
    expect(page.get_by_role("heading", name="Recordings")).to_be_visible()
    expect(page.locator("#whole-heading")).to_be_visible()
    expect(page.locator("#call-heading")).to_have_text("Call 3")
    expect(page.locator("#recordings-text")).to_have_value("flac")
    page.get_by_role("link", name="Map").click()
    expect(page.locator("#view-map")).to_be_visible()
    expect(page.locator("#call-heading")).to_have_text("Call 3")
    page.go_back()
    expect(page.locator("#whole-heading")).to_be_visible()


def test_the_token_is_typed_once_and_what_the_address_says_is_shown(browser, workspace):
    """A browser hides the origin of a form where the policy for referrers says so."""
    token = "three blind mice"
    with served(workspace, token=token) as client, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{client.base_url.port}/#view=types")
        for typed in ("four blind mice, or more", token):
            page.get_by_label("Token").fill(typed)
            page.get_by_role("button", name="Enter").click()
        expect(page.locator("#view-types")).to_be_visible()


def test_what_is_like_this_and_not_like_that_is_refined_by_keys(page_of):
    page = page_of("event=1")
    found = page.locator("#nearest .found").first
    expect(found).to_contain_text("likeness")
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile("like=1"))
    page.keyboard.press("n")
    expect(page.locator("#call-heading")).not_to_have_text("Call 1")
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(r"unlike=\d+"))
    expect(page.locator("#nearest h3")).to_have_text("What is like these, and not like those")
    expect(found).to_contain_text("likeness")


def test_a_condition_shows_those_that_meet_it(page_of):
    page = page_of("view=types")
    page.keyboard.press("/")
    where = page.locator("#where")
    expect(where).to_be_focused()
    where.fill("level_db > 1000")
    where.press("Enter")
    expect(page.locator("#shown")).to_contain_text("0 of")
    expect(page).to_have_url(re.compile("where=level_db"))


def test_a_condition_on_time_says_how_many_calls_have_none(page_of, workspace, tmp_path):
    copied = Path(shutil.copytree(workspace, tmp_path / "copied.oscine"))
    with Workspace(copied).catalogue() as catalogue:
        catalogue._connection.execute("UPDATE recordings SET zone = 'UTC (file modification time)'")
        n_events = catalogue.count("events")
    page = page_of()
    with served(copied) as client:
        page.goto(f"http://127.0.0.1:{client.base_url.port}/#where={quote('hour < 24')}")
        expect(page.locator("#shown")).to_contain_text("0 of")
        expect(page.locator("#where-untimed")).to_contain_text(f"Of {n_events} calls")
        page.locator("#where").fill("level_db > 0")
        page.locator("#where").press("Enter")
        expect(page.locator("#where-untimed")).to_be_empty()
        page.goto("about:blank")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize(
    "state",
    ["event=1", "view=types", "view=recordings&recording=1", "view=layers", "view=behaviour"],
)
def test_every_view_is_accessible_and_as_wide_as_the_screen(page_of, state, size):
    page = page_of(state, size, color_scheme="dark" if size == PHONE else "light")
    expect(page.locator("[aria-busy]")).to_have_count(0)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_on_a_phone_a_call_is_chosen_and_closed(page_of):
    page = page_of("", PHONE, has_touch=True)
    shown = Map(page)
    page.touchscreen.tap(*shown.on_screen(shown.lonely()))
    expect(page.locator("#play")).to_be_in_viewport()
    shown.box = page.locator("#map").bounding_box()
    y = shown.on_screen(shown.lonely())[1]
    assert 0 < y < page.locator("#call").bounding_box()["y"]
    page.get_by_role("button", name="Close this call").click()
    expect(page.locator("#call")).to_be_empty()


def test_the_benchmark_sees_pictures_and_frames(browser, address):
    seen = explorer_page.looked_at(browser, address, hovers=3, drag_s=0.5)
    assert seen["points"] == httpx.get(f"{address}/api/atlas").json()["shown"]
    assert seen["hovers"] > 0
    assert seen["frames"] > 0


def answering(page, url, answer, status=200):
    """Let the server of a page answer something else."""
    page.route(f"**{url}", lambda route: route.fulfill(json=answer, status=status))


def altering(page, url, **changes):
    """Let the server of a page answer as it does, but for some values; then load it again."""

    def answer(route):
        found = route.fetch()
        route.fulfill(response=found, json={**found.json(), **changes})

    page.route(f"**{url}", answer)
    page.reload()
    page.wait_for_selector("body:not(.starting)")


def met(page, held):
    """Wait until something that a page asked for is held back."""
    within = time.monotonic() + 30
    while not held and time.monotonic() < within:
        page.wait_for_timeout(10)
    assert held


@contextmanager
def late(page, url):
    """Hold back what the server answers meanwhile: it comes last."""
    held = []
    page.route(f"**{url}", lambda route: held.append(route))
    yield
    met(page, held)
    for route in held:
        with page.expect_response(f"**{url}") as answer:
            route.continue_()
        answer.value.finished()
    page.unroute(f"**{url}")
    page.wait_for_timeout(200)  # in which it may do what it should not


def look_at(page, state):
    """Change what the address says, as a link does."""
    page.evaluate("(state) => (location.hash = state)", state)


UNTESTED = {"test": "not tested", "sound_type": 0, "behaviour": "feeding", "q": None}
TESTED = UNTESTED | {"test": "shifts within sessions", "q": 0.03, "p": 0.01, "is_found": False}
TESTED |= {"n_calls": 9, "n_together": 4, "expected": 1, "rate_ratio": 3, "low": 1, "high": 9}
BEHAVIOUR = {
    "available": True,
    "verdict": "Nothing can be said of what goes with what.",
    "findings": [],
    "limits": ["None of 3 pairs could be tested: it never changes (2); too few calls (1)."],
    "observed": 12,
    "sessions": 1,
    "watched": "36 s",
    "pairs": [UNTESTED] * 3,
    "untested": "it never changes (2); too few calls (1)",
}


def test_where_nobody_grouped_the_calls_it_is_said_what_is_missing_and_what_makes_it(page_of):
    page, asked = page_of(), []
    page.on("request", lambda request: asked.append(request.url))
    altering(page, "/api/atlas", missing=["embed", "cluster"], types=[], workspace="/a b/c.oscine")
    said = 'oscine embed -w "/a b/c.oscine" && oscine cluster -w "/a b/c.oscine"'
    for place, key in (("#no-map", "1"), ("#cards", "2")):
        page.keyboard.press(key)
        expect(page.locator(place)).to_contain_text("Nobody has looked for sound types yet")
        expect(page.locator(f"{place} code")).to_have_text(said)
    expect(page.locator("#cards")).not_to_contain_text("No sound types were found")
    expect(page.locator("#history-part")).to_be_hidden()
    assert not [one for one in asked if "history" in one]


def test_the_layers_view_says_what_was_expected_and_what_was_measured(page_of):
    page = page_of()
    verdict = 'The claim "early = x" does not hold for this model. label: not asked, as none.'
    layers = {"available": True, "layers": [], "scores": [], "verdict": verdict, "maps": []}
    answering(page, "/api/layers", layers)
    page.keyboard.press("4")
    expect(page.locator("#layers")).to_contain_text("made before anything was measured")
    expect(page.locator("#layers li")).to_have_text("Label: not asked, as none.")
    expect(page.locator("#layers .trouble")).to_have_count(0)
    page.unroute("**/api/layers")
    answering(page, "/api/layers", layers | {"is_stale": True})
    page.reload()
    expect(page.locator("#layers .trouble")).to_contain_text("oscine evaluate renews this")


def test_a_map_that_is_drawn_anew_says_that_and_how_far_it_is(page_of):
    page = page_of("", is_troubled=True)
    answering(page, "/api/maps", {"share": 0}, 202)
    answering(page, "/api/maps/layer-1", {"share": 0.42}, 202)
    page.evaluate("location.hash = 'readout=layer-1'")
    said = page.locator("#readout-said")
    expect(said).to_contain_text(
        re.compile(r"Computing the map as layer 1 of the model hears it.* \d+ s")
    )
    expect(said.locator("progress")).to_have_js_property("value", 0.42)
    expect(page.locator("#map")).to_have_attribute("aria-busy", "true")
    page.unroute("**/api/maps/layer-1")
    answering(page, "/api/maps/layer-1", {"error": "no room"}, 422)
    expect(said).to_have_text("No room.")
    expect(page.locator("#map")).not_to_have_attribute("aria-busy", "true")


def test_a_lasso_holds_calls_of_its_own_map_alone(page_of):
    """Its corners are places on that map, which may not be drawn yet, or never."""
    page = page_of("", is_troubled=True)
    answering(page, "/api/maps", {"share": 0}, 202)
    answering(page, "/api/maps/layer-1", {"share": 0.42}, 202)
    page.evaluate(GO, {"readout": "layer-1", "lasso": EVERYWHERE})
    said, heading = page.locator("#readout-said"), page.locator("#selection-heading")
    expect(said.locator("progress")).to_have_js_property("value", 0.42)
    expect(heading).to_have_count(0)
    events = np.array(page.evaluate(POINTS)["event"], np.uint32)
    made = {"event": events, "x": np.float32(events), "y": np.float32(events)}
    body, kind = packed(made, readout="layer-1"), "application/octet-stream"
    page.unroute("**/api/maps/layer-1")
    page.route("**/api/maps/layer-1", lambda route: route.fulfill(body=body, content_type=kind))
    expect(heading).to_have_text(f"{len(events)} calls")

    answering(page, "/api/maps", {"error": "PyTorch is not installed"}, 422)
    page.reload()
    expect(said).to_have_text("PyTorch is not installed.")
    expect(heading).to_have_count(0)
    page.locator("#list").click()  # of the map that is there
    expect(heading).to_have_text(f"{len(events)} calls")
    expect(page).not_to_have_url(re.compile("readout="))
    expect(said).to_be_empty()


def test_while_a_filter_is_asked_of_other_points_none_is_taken_for_another(page_of):
    """Of many calls a sample is shown, which changes with the sound types."""
    page = page_of("where=low_hz >= 0")
    shown = Map(page)
    row = shown.lonely()
    place, event = shown.on_screen(row), shown.points["event"][row]
    assert row != len(shown.left) - 1 - row

    def other(found):
        header, found = unpacked(found.body())
        said = {name: one for name, one in header.items() if name not in ("n", "columns")}
        return packed({name: one[::-1] for name, one in found.items()}, **said | {"sample": "new"})

    def answer(route):
        found = route.fetch()
        route.fulfill(response=found, body=other(found))

    waiting = []
    page.route("**/api/points", answer)
    page.route("**/api/points/where?*", lambda route: waiting.append(route))
    page.evaluate("import('/static/atlas.js').then(({ reload }) => reload())")
    expect(page.locator("#shown")).to_contain_text("0 of")
    page.mouse.click(*place)
    assert "event=" not in page.url
    met(page, waiting)
    answer(waiting.pop())
    expect(page.locator("#shown")).not_to_contain_text("0 of")
    page.mouse.click(*place)
    expect(page).to_have_url(re.compile(f"event={event}(&|$)"))
    expect(page.locator("#where-trouble")).to_be_empty()


def test_what_is_only_unlike_is_not_looked_for_and_that_is_said(page_of):
    page = page_of("event=1")
    page.keyboard.press("u")
    expect(page.locator("#nearest")).to_contain_text("Mark one that they are to be like, too")
    page.locator("#colour").select_option("likeness")
    expect(page.locator("#map-trouble")).to_contain_text("Choose a call")


def test_a_likeness_is_told_as_it_is_where_nothing_says_what_it_is_worth(page_of):
    page = page_of("event=1")
    rows = page.locator("#nearest .found li")
    expect(rows.first).to_contain_text("likeness")
    answer = page.evaluate("fetch('/api/similar?like=2&top=2&own=0').then((one) => one.json())")
    for share, heading in ((None, r"likeness \d\.\d\d"), (0.75, "more alike than 75 % .*")):
        others = [{**one, "percentile": share} for one in answer["others"]]
        page.unroute("**/api/similar?*")
        answering(page, "/api/similar?*", answer | {"others": others, "own": [], "why": "too few"})
        page.keyboard.press("l")  # to ask again
        expect(rows.first.locator("b")).to_have_text(re.compile(heading))
        order = page.locator("#nearest", has_text="The most alike first, by likeness")
        expect(order).to_have_count(0 if share is None else 1)


def test_a_file_that_could_not_be_read_has_no_length_and_nothing_to_play(page_of):
    page = page_of()
    page.wait_for_selector("#legend li")
    unread = {"n_samples": 0, "duration_s": 0, "state": "unreadable", "reason": "no audio file"}
    row = page.evaluate("fetch('/api/recordings?limit=1').then((one) => one.json())")["rows"][0]
    answering(page, "/api/recordings?*", {"rows": [row | unread], "total": 1, "next": None})
    whole = page.evaluate("fetch('/api/recordings/1').then((one) => one.json())")
    answering(page, "/api/recordings/1", whole | unread | {"events": [], "has_sound": False})
    page.keyboard.press("3")
    expect(page.locator("#rows td").nth(2)).to_have_text("–")
    page.locator("#rows a").click()
    expect(page.locator("#whole")).to_contain_text("unreadable: no audio file")
    expect(page.locator("#whole")).to_contain_text("nothing to see or to hear")
    expect(page.locator("#whole")).not_to_contain_text("0.0 s")
    expect(page.locator("#play-recording")).to_have_count(0)


def test_what_can_be_typed_to_find_calls_is_said_in_full(page_of):
    for size in (WIDE, PHONE):
        where = page_of("", size).locator("#where")
        assert where.evaluate("""(field) => {
            const text = document.createElement("canvas").getContext("2d");
            text.font = getComputedStyle(field).font;
            return field.clientWidth - 40 > text.measureText(field.placeholder).width;
        }""")


def test_where_nothing_was_tested_the_behaviour_view_says_that_and_why(page_of):
    page = page_of()
    answering(page, "/api/behaviour", BEHAVIOUR)
    page.keyboard.press("5")
    view = page.locator("#behaviour")
    expect(view).to_contain_text("12 calls while somebody watched, in 1 session of 36 s together.")
    expect(view).to_contain_text("Nothing, as nothing could be tested; why is said under")
    expect(view).to_contain_text(BEHAVIOUR["limits"][0])
    expect(view).not_to_contain_text("chance would have it")
    expect(view).not_to_contain_text("had too few calls")


def test_pairs_that_were_not_tested_are_told_with_their_reasons_beside_those_that_were(page_of):
    page = page_of()
    pairs = [TESTED, *[UNTESTED] * 3]
    answering(page, "/api/behaviour", BEHAVIOUR | {"pairs": pairs})
    page.keyboard.press("5")
    view = page.locator("#behaviour")
    expect(view).to_contain_text(f"3 pairs could not be tested: {BEHAVIOUR['untested']}.")
    expect(view.locator("tbody tr")).to_have_count(1)
    # A pair may be taken back, as the clocks are not known: it is not found, whatever its q.
    expect(view.locator(".found-pair")).to_have_count(0)


def test_what_was_joined_with_earlier_sound_types_is_told_by_their_names_of_then(page_of):
    page = page_of()
    told = BEHAVIOUR | {"pairs": [TESTED], "names": {"0": "old caw"}, "is_stale": False}
    answering(page, "/api/behaviour", told)
    page.keyboard.press("5")
    heading = page.locator("#behaviour tbody th")
    expect(heading.get_by_role("link")).to_have_text("old caw")
    page.unroute("**/api/behaviour")
    answering(page, "/api/behaviour", told | {"is_stale": True})
    with page.expect_response("**/api/behaviour"):  # it is asked again, though it is looked at
        page.evaluate("dispatchEvent(new Event('regrouped'))")
    expect(page.locator("#behaviour .trouble")).to_contain_text("oscine join renews this")
    expect(heading).to_have_text("old caw")
    expect(heading.locator("a, .swatch")).to_have_count(0)


def test_where_nobody_watched_no_minutes_are_told(page_of):
    page = page_of()
    nothing = {"watched": "", "pairs": [], "untested": "", "observed": 0, "sessions": 0}
    answering(page, "/api/behaviour", BEHAVIOUR | nothing)
    page.keyboard.press("5")
    view = page.locator("#behaviour")
    expect(view).to_contain_text("Nobody watched while something was recorded")
    expect(view).to_contain_text("nothing could be tested")


def test_trouble_is_said(page_of):
    """A browser writes to its console when an answer is an error, whatever the page makes of it."""
    page = page_of(is_troubled=True)
    page.locator("#where").fill("level_db is loud")
    page.locator("#where").press("Enter")
    expect(page.locator("#where-trouble")).to_contain_text("level_db")

    page.locator("#where").fill("999999")
    page.locator("#where").press("Enter")
    expect(page.locator("#call .trouble")).to_contain_text("999999")
    page.get_by_role("button", name="Close this call").click()

    gone = page.locator("#gone")
    page.route("**/api/types/*", lambda route: route.abort())
    page.keyboard.press("2")
    expect(gone).to_be_visible()
    page.unroute("**/api/types/*")
    expect(gone).to_be_hidden()
    expect(page.locator("#type-0 .strip").first).to_be_visible()


# Answers that come late


def test_what_was_chosen_last_is_heard_whichever_answer_comes_last(page_of):
    page = page_of()
    where, heading = page.locator("#where"), page.locator("#call-heading")
    audio = page.locator("#audio")
    with late(page, "/api/events/1"):
        for number in ("1", "9"):
            where.fill(number)
            where.press("Enter")
        expect(heading).to_have_text("Call 9")
        expect(audio).to_have_attribute("src", re.compile("audio"))
        heard = audio.get_attribute("src")
    assert audio.get_attribute("src") == heard

    with late(page, "/api/events/2"):
        where.fill("2")
        where.press("Enter")
        look_at(page, "")
    assert audio.get_attribute("src") == heard


def test_the_next_call_is_not_gone_to_once_another_was_chosen(page_of):
    page = page_of()
    with late(page, "/api/events/1"):
        look_at(page, "event=1")
        page.keyboard.press("n")
        look_at(page, "event=9")
    assert page.url.endswith("event=9")
    expect(page.locator("#call-heading")).to_have_text("Call 9")


def test_calls_are_not_said_to_play_once_another_was_chosen(page_of):
    page = page_of("lasso=-999,-999,999,-999,999,999,-999,999")
    run = page.locator("#run")
    first = page.locator("#selection .strip").first.get_attribute("data-event")
    with late(page, f"/api/events/{first}"):
        run.click()
        expect(page).to_have_url(re.compile(f"event={first}(&|$)"))
        page.locator("#selection .strip").nth(4).click()
    expect(run).to_have_text("▶ Play all")


def test_the_recording_chosen_last_is_shown_whichever_answer_comes_last(page_of):
    page = page_of("view=recordings&recording=2", is_troubled=True)
    whole, heading = page.locator("#whole"), page.locator("#whole-heading")
    expect(heading).to_be_visible()
    second = heading.inner_text()
    for slow in (1, 99999):  # one that is there, and one that is not
        with late(page, f"/api/recordings/{slow}"):
            look_at(page, f"view=recordings&recording={slow}")
            look_at(page, "view=recordings&recording=2")
        expect(heading).to_have_text(second)
    with late(page, "/api/recordings/3"):
        look_at(page, "view=recordings&recording=3")
        look_at(page, "view=recordings&recording=4")
        expect(heading).not_to_have_text(second)
        fourth = heading.inner_text()
    expect(heading).to_have_text(fourth)
    with late(page, "/api/recordings/99998"):
        look_at(page, "view=recordings&recording=99998")
        look_at(page, "view=recordings")
    expect(whole).to_be_empty()


def test_a_recording_chosen_while_sound_types_are_read_again_is_shown(page_of):
    page = page_of("view=recordings&recording=2")
    heading = page.locator("#whole-heading")
    expect(heading).to_be_visible()
    second = heading.inner_text()
    with late(page, "/api/recordings/2"):
        page.evaluate("import('/static/atlas.js').then(({ reload }) => reload())")
        look_at(page, "view=recordings&recording=1")
        expect(heading).not_to_have_text(second)
        first = heading.inner_text()
    expect(heading).to_have_text(first)


def test_an_error_of_a_call_chosen_before_does_not_hide_the_one_chosen_now(page_of):
    page = page_of(is_troubled=True)
    heading = page.locator("#call-heading")
    with late(page, "/api/events/99999"):
        look_at(page, "event=99999")
        look_at(page, "event=9")
        expect(heading).to_have_text("Call 9")
    expect(heading).to_have_text("Call 9")
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile("like=9"))
