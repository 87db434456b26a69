// The archive through time, a table of its recordings, and one recording whole.

import { NOT_GROUPED, atlas, recordingOf, typeSwatch, typeTitle } from "./atlas.js";
import { amount, colour, css } from "./colours.js";
import { button, byId, el, hint, into, prose, put, surface } from "./dom.js";
import { play, playing, speedChoice, stop } from "./player.js";
import { columns, get } from "./server.js";
import { Sonogram } from "./sonogram.js";
import { event as chosen, go, onChange, state } from "./state.js";
import { choose } from "./strips.js";
import { count, counted, dayText, fileName, hourText, longDuration, when } from "./words.js";

const PAGE = 100;
const [AXIS_PX, END_PX, HEAD_PX, FOOT_PX, HOUR_PX] = [34, 70, 4, 18, 9];
const [LEAST_DAY_PX, MOST_DAY_PX, BREAK_PX] = [3, 72, 14];
const LONGEST_GAP_DAYS = 14; // A longer one is drawn as a break.
const STATES = ["whole", "damaged", "silent", "too short", "unreadable", "duplicate"];

// --- Timeline ------------------------------------------------------------------------------------------

let timeline = null;

// Days side by side; where nothing was recorded for long, a narrow break stands for it.
function dayPlaces(width) {
  const days = [...new Set(timeline.day)].sort((one, other) => one - other);
  const isBreak = days.map((day, n) => n > 0 && day - days[n - 1] > LONGEST_GAP_DAYS);
  const shown = days.map((day, n) => (n === 0 || isBreak[n] ? 1 : day - days[n - 1]));
  const [n_days, n_breaks] = [shown.reduce((sum, n) => sum + n, 0), isBreak.filter(Boolean).length];
  const wide = Math.min(MOST_DAY_PX, Math.max(LEAST_DAY_PX, (width - AXIS_PX - END_PX - n_breaks * BREAK_PX) / n_days));
  let at = AXIS_PX - wide;
  const x = new Map(days.map((day, n) => [day, (at += shown[n] * wide + isBreak[n] * BREAK_PX)]));
  return { days, isBreak, wide, x, end: at + wide };
}

function drawTimeline() {
  const canvas = byId("timeline");
  canvas.hidden = !timeline?.n;
  if (canvas.hidden) return;
  const { days, isBreak, wide, x, end } = dayPlaces(byId("timeline-part").clientWidth);
  canvas.style.width = `${end + END_PX}px`;
  canvas.style.height = `${HEAD_PX + 24 * HOUR_PX + FOOT_PX}px`;
  const { context } = surface(canvas);
  context.font = "11px system-ui, sans-serif";
  context.translate(0, HEAD_PX);
  context.fillStyle = css(colour("--shade"));
  context.fillRect(AXIS_PX, 0, end - AXIS_PX, 24 * HOUR_PX);
  const { day, hour, recorded_s, events, damaged } = timeline;
  const rates = recorded_s.map((seconds, n) => (seconds > 0 ? (3600 * events[n]) / Math.max(60, seconds) : 0));
  // A few loud hours must not make all others pale.
  const most = Math.log1p(Math.max(1, [...rates].sort((one, other) => one - other)[Math.floor(0.98 * (timeline.n - 1))]));
  for (let n = 0; n < timeline.n; n++) {
    const [left, top] = [x.get(day[n]), hour[n] * HOUR_PX];
    context.fillStyle = css(amount(Math.log1p(rates[n]) / most));
    context.fillRect(left, top, Math.max(1, wide - (wide > 5 ? 1 : 0)), HOUR_PX - 1);
    if (damaged[n]) {
      context.fillStyle = css(colour("--second"));
      context.fillRect(left, top, Math.max(2, wide * 0.4), HOUR_PX - 1);
    }
  }
  context.fillStyle = css(colour("--paper"));
  days.forEach((each, n) => isBreak[n] && context.fillRect(x.get(each) - BREAK_PX, 0, BREAK_PX - 1, 24 * HOUR_PX));
  context.fillStyle = css(colour("--muted"));
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const each of [0, 6, 12, 18]) context.fillText(`${each} h`, AXIS_PX - 6, (each + 0.5) * HOUR_PX);
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  let free = -Infinity;
  days.forEach((each, n) => {
    const left = x.get(each);
    const isNewMonth = n === 0 || isBreak[n] || dayText(each).slice(0, 7) !== dayText(days[n - 1]).slice(0, 7);
    if (!isNewMonth || left < free) return;
    context.fillRect(left, 24 * HOUR_PX, 1, 4);
    context.fillText(dayText(each), left + 3, 24 * HOUR_PX + 13);
    free = left + context.measureText(dayText(each)).width + 12;
  });
  const chosenDay = Number(state().day);
  if (x.has(chosenDay)) {
    context.strokeStyle = css(colour("--accent"));
    context.lineWidth = 2;
    context.strokeRect(x.get(chosenDay) - 1, 1, wide + 1, 24 * HOUR_PX - 2);
  }
  const dayAt = (px) => {
    const before = days.findLast((each) => x.get(each) <= px);
    return before === undefined ? undefined : Math.min(before + Math.floor((px - x.get(before)) / wide), days.at(-1));
  };
  canvas.onpointermove = ({ offsetX, offsetY }) => (canvas.title = cellWords(dayAt(offsetX), Math.floor((offsetY - HEAD_PX) / HOUR_PX)));
  canvas.onclick = ({ offsetX }) => x.has(dayAt(offsetX)) && go({ day: String(dayAt(offsetX)) === state().day ? null : dayAt(offsetX) });
}

function cellWords(day, hour) {
  if (hour < 0 || hour > 23 || day === undefined) return "";
  const n = timeline.day.findIndex((each, k) => each === day && timeline.hour[k] === hour);
  const words = n < 0 ? "nothing recorded"
    : `${longDuration(timeline.recorded_s[n])} recorded, ${count(timeline.events[n], "call")}${timeline.damaged[n] ? `, ${count(timeline.damaged[n], "damaged file")}` : ""}`;
  return `${dayText(day)}, ${hourText(hour)} to ${hourText(hour + 1)}: ${words}`;
}

async function startTimeline() {
  const host = byId("timeline-part");
  if (!atlas.has.times) {
    host.replaceChildren(el("h3", {}, "Through time"), hint("No recording says when it was made, so there is no timeline. Recorders write it into files or their names; where the time zone is missing, oscine index --timezone tells it."));
    return;
  }
  timeline = await columns("/api/timeline");
  byId("timeline-said").textContent = timelineWords();
  drawTimeline();
}

function timelineWords() {
  const [first, last] = timeline.days;
  const recorded = new Set(timeline.day).size;
  const without = timeline.without_time ?? 0;
  return `${count(recorded, "day")} with recordings from ${dayText(first)} to ${dayText(last)}, by the clocks there. ` +
    `Each cell is an hour; the stronger its colour, the more calls in an hour of recording. Orange: damaged files. Blank: more than two weeks without a recording. A click shows the day's recordings.${without ? ` ${count(without, "recording")} without a time.` : ""}`;
}

// --- Table -----------------------------------------------------------------------------------------------

let listing = new AbortController();

async function list(after = null) {
  const { site, text, day, state: wanted } = state();
  const body = byId("rows");
  const more = byId("more");
  if (after === null) {
    listing.abort();
    listing = new AbortController();
    body.replaceChildren();
  }
  more.hidden = true;
  try {
    const found = await get("/api/recordings", { after, limit: PAGE, site, text, day, state: wanted }, listing.signal);
    body.append(...found.rows.map(row));
    byId("listed").textContent = found.total ? `${count(found.total, "recording")}${filtered() ? " meet this" : ""}` : "No recording meets this.";
    more.hidden = found.next === null;
    more.onclick = () => list(found.next);
  } catch (error) {
    if (error.name !== "AbortError") put(byId("listed"), prose(error.message));
  }
}

const filtered = () => ["site", "text", "day", "state"].some((name) => state()[name] !== undefined);

function row({ id, path, site, start_ms, utc_offset_min, duration_s, n_samples, state: health, reason, events, channel }) {
  const link = el("a", { href: `#view=recordings&recording=${id}&t=`, title: path }, path, channel > 0 ? ` (channel ${channel + 1})` : "");
  return el("tr", { className: String(id) === state().recording ? "selected" : "", data: { id } },
    el("th", { scope: "row" }, link),
    el("td", {}, start_ms === null ? "" : when(start_ms, utc_offset_min)),
    el("td", {}, site),
    el("td", { className: "n" }, n_samples ? longDuration(duration_s) : "–"),
    el("td", { className: "n" }, counted(events)),
    el("td", {}, health === "whole" ? "" : el("span", { className: "bad", title: reason }, health, reason ? `: ${reason}` : "")));
}

// --- One recording, whole --------------------------------------------------------------------------------

let whole = null; // What the server tells of it; null while that is asked anew.

const sonogram = new Sonogram({
  height: 260,
  onpick: choose,
  onseek: (at_s) => whole && playFrom(at_s),
  onmoved: (from_s, to_s) => {
    drawOverview();
    clearTimeout(sonogram.settling);
    sonogram.settling = setTimeout(() => go({ t: `${from_s.toFixed(2)},${to_s.toFixed(2)}` }, { replace: true }), 300);
  },
});

// The server gives a minute at a time; the next follows by itself, and what is heard stays in sight.
function playFrom(at_s) {
  const { id, longest_s, duration_s } = whole;
  const stop_s = Math.min(duration_s, at_s + longest_s);
  play(whole, at_s, stop_s, () => stop_s < duration_s && whole?.id === id && playFrom(stop_s));
}

export function toggleRecording() {
  if (playing()) stop();
  else if (whole) playFrom(sonogram.from_s);
}

addEventListener("position", ({ detail }) => {
  if (detail.recording !== whole?.id) return;
  if (detail.event === null && detail.at_s > sonogram.to_s) sonogram.change(detail.at_s, detail.at_s + sonogram.to_s - sonogram.from_s);
  sonogram.showCursor(detail.at_s);
});
addEventListener("silent", () => sonogram.showCursor(null));
for (const [name, text] of [["playing", "■ Stop"], ["silent", "▶ Play from here"]]) {
  addEventListener(name, () => byId("play-recording") && (byId("play-recording").textContent = text));
}

function showWhole() {
  const wanted = state().recording;
  into(byId("whole"), recordingOf(wanted), drawWhole, () => state().view === "recordings" && state().recording === wanted);
}

function drawWhole(recording) {
  whole = recording;
  const counts = new Map();
  for (const { type } of recording.events) counts.set(type, (counts.get(type) ?? 0) + 1);
  const isHeard = recording.n_samples > 0;
  const most = [...counts].sort(([, one], [, other]) => other - one).slice(0, 12);
  put(byId("whole"),
    el("header", {},
      el("h3", { id: "whole-heading", tabIndex: -1 }, fileName(recording.path)),
      button("×", () => go({ recording: null, t: null }), { className: "close", ariaLabel: "Close this recording" })),
    el("p", { className: "facts" }, [recording.path === fileName(recording.path) ? null : recording.path, when(recording.start_ms, recording.utc_offset_min), recording.site, recording.recorder, isHeard && longDuration(recording.duration_s), count(recording.events.length, "call")].filter(Boolean).join(" · ")),
    recording.state === "whole" ? null : el("p", { className: "bad" }, `${recording.state}: ${recording.reason}`),
    ...(isHeard ? pictured(recording, most) : [hint("Nothing of this file could be read, so there is nothing to see or to hear.")]),
  );
  byId("whole").scrollIntoView({ block: "nearest" });
  if (!isHeard) return;
  sonogram.setRecording({ recording: recording.id, duration_s: recording.duration_s, has_sound: recording.has_sound });
  sonogram.setBoxes(recording.events, chosen());
  showStretch();
}

function pictured(recording, most) {
  return [
    el("canvas", { id: "overview", className: "place", role: "img", ariaLabel: "The whole recording with its calls; the frame is what is shown below" }),
    sonogram.element,
    el("div", { className: "controls" },
      button("▶ Play from here", toggleRecording, { id: "play-recording", className: "button main", disabled: recording.has_sound === false }),
      speedChoice("speed-of-recording"),
      button("‹", () => sonogram.pan(-0.8), { ariaLabel: "Earlier" }),
      button("›", () => sonogram.pan(0.8), { ariaLabel: "Later" }),
      button("−", () => sonogram.zoomBy(0.5), { ariaLabel: "Show more time" }),
      button("+", () => sonogram.zoomBy(2), { ariaLabel: "Show less time, larger" }),
      button("All", () => sonogram.change(0, recording.duration_s), { ariaLabel: "Show the whole recording" })),
    el("p", { className: "chips" }, most.map(([type, n]) => el("span", { className: "chip still" }, typeSwatch(type), typeTitle(type), el("small", {}, counted(n))))),
    recording.has_sound === false ? hint("The file is not where it was, or was changed, so there is no sound.") : null,
    hint("Drag to move, press a frame to choose the call, press elsewhere to listen from there. Ctrl and the wheel magnify."),
  ];
}

function showStretch() {
  const [from, to] = (state().t ?? "").split(",").map(Number);
  const call = whole.events.find(({ event }) => event === chosen());
  if (to > from) sonogram.setView(from, to);
  else if (call) sonogram.setView(call.start_s - 5, call.stop_s + 5);
  else sonogram.setView(0, Math.min(whole.duration_s, 60));
  drawOverview();
}

function drawOverview() {
  const canvas = byId("overview");
  if (!canvas || !whole) return;
  const { context, width, height } = surface(canvas);
  const { duration_s, events } = whole;
  context.fillStyle = css(colour("--shade"));
  context.fillRect(0, 0, width, height);
  for (const { start_s, stop_s, type } of events) {
    context.fillStyle = type === NOT_GROUPED ? css(colour("--noise")) : atlas.types.find(({ number }) => number === type)?.colour ?? css(colour("--noise"));
    context.fillRect((start_s / duration_s) * width, 4, Math.max(1, ((stop_s - start_s) / duration_s) * width), height - 8);
  }
  context.strokeStyle = css(colour("--ink"));
  context.lineWidth = 2;
  const x = (sonogram.from_s / duration_s) * width;
  context.strokeRect(Math.min(x + 1, width - 5), 1, Math.max(4, ((sonogram.to_s - sonogram.from_s) / duration_s) * width - 2), height - 2);
  canvas.onclick = ({ offsetX }) => {
    const half = (sonogram.to_s - sonogram.from_s) / 2;
    const middle = (offsetX / width) * duration_s;
    sonogram.change(middle - half, middle + half);
  };
}

export const scrollRecording = (by) => whole && sonogram.pan(by);

// --- What the address says -----------------------------------------------------------------------------------

export function startRecordings() {
  const [text, site, health] = ["text", "site", "state"].map((name) => byId(`recordings-${name}`));
  const fillSites = () => {
    const [all] = site.options;
    site.replaceChildren(all, ...atlas.sites.map((name) => el("option", { value: name }, name || "no name")));
    site.value = state().site ?? "";
    site.parentElement.hidden = !atlas.has.sites;
  };
  fillSites();
  health.append(...STATES.map((name) => el("option", { value: name }, name)));
  let typing = null;
  text.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ text: text.value }, { replace: true }), 250);
  };
  site.onchange = () => go({ site: site.value }, { replace: true });
  health.onchange = () => go({ state: health.value }, { replace: true });
  byId("recordings-all").onclick = () => go({ text: null, site: null, state: null, day: null });

  let isStarted = false;
  onChange((now, changed) => {
    if (now.view !== "recordings") return;
    if (!isStarted) {
      into(byId("timeline-trouble"), startTimeline(), () => {});
    } else if (changed.has("day") || changed.has("view")) drawTimeline();
    [text.value, site.value, health.value] = [now.text ?? "", now.site ?? "", now.state ?? ""];
    byId("recordings-all").hidden = !filtered();
    byId("day").textContent = now.day === undefined ? "" : `Recordings of ${dayText(Number(now.day))}`;
    if (!isStarted || ["text", "site", "state", "day"].some((name) => changed.has(name))) list();
    for (const each of byId("rows").children) each.classList.toggle("selected", each.dataset.id === now.recording);
    if (now.recording === undefined) {
      whole = null;
      byId("whole").replaceChildren();
    } else if (String(whole?.id) !== now.recording) {
      showWhole();
    } else {
      if (changed.has("t") && now.t !== `${sonogram.from_s.toFixed(2)},${sonogram.to_s.toFixed(2)}`) showStretch();
      if (changed.has("event")) sonogram.setBoxes(whole.events, chosen());
    }
    isStarted = true;
  });
  const redraw = () => {
    if (state().view !== "recordings") return;
    drawTimeline();
    if (whole) {
      sonogram.redraw();
      drawOverview();
    }
  };
  addEventListener("recoloured", redraw);
  addEventListener("resize", redraw);
  addEventListener("regrouped", () => {
    fillSites(); // There may be sites that came since.
    whole = null;
    if (state().view === "recordings" && state().recording !== undefined) showWhole();
  });
}
