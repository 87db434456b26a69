// The panel of one call: seen, heard, where and when, what is most like it, and what the masked
// model makes of it.

import {
  NOT_GROUPED, atlas, eventOf, ofGrouping, points, recordingOf, typeRgb, typeSwatch, typeTitle,
} from "./atlas.js";
import { colour, css, magma } from "./colours.js";
import { button, byId, el, hint, into, prose, put, surface, tell, trouble } from "./dom.js";
import { askName } from "./edits.js";
import { playing, speedChoice, stop } from "./player.js";
import { selection } from "./selection.js";
import { address, columns, get, post } from "./server.js";
import { Sonogram, rangeOf } from "./sonogram.js";
import { event as chosen, go, numbers, onChange, state } from "./state.js";
import { choose, contextOf, playEvent, playStretch, strip } from "./strips.js";
import { band, clock, duration, fileName, percentileWords, when } from "./words.js";

const [TOP, OWN] = [12, 4]; // Nearest calls shown: of other recordings, and of the same.
const [PLAY, STOP] = ["▶ Play", "■ Stop"];
let known = null; // The call shown, as the server tells of it.
let asking = new AbortController();

const sonogram = new Sonogram({
  height: 230,
  onpick: (event) => (event === known.event ? playEvent(event) : choose(event)),
  onseek: (at_s) => playStretch(known, at_s, sonogram.to_s),
  onmoved: () => go({ zoom: zoomText() }, { replace: true }),
});

// --- Playing -------------------------------------------------------------------------------------

export function togglePlay() {
  if (playing()) stop();
  else if (known) playStretch(known, sonogram.from_s, sonogram.to_s);
}

// The next call (or the one before): among those chosen with the lasso, or else in the recording.
// Where none is shown, the first of those.
export async function step(by) {
  const from = chosen();
  const isAmongChosen = selection().includes(from);
  const order = from === null ? [] : isAmongChosen ? selection() : await besides(from);
  if (chosen() !== from) return; // Another was chosen since.
  const next = from === null ? selection()[0] ?? points.event[0] : order[order.indexOf(from) + by];
  if (next === undefined) return tell(`This is the ${by > 0 ? "last" : "first"} call ${isAmongChosen ? "that is chosen" : "of its recording"}.`);
  go({ event: next }, { replace: true });
  await playEvent(next);
}

// The calls of its recording, in order of time.
async function besides(number) {
  const { recording } = await eventOf(number);
  return (await recordingOf(recording.id)).events.map(({ event }) => event);
}

addEventListener("position", ({ detail }) => {
  if (detail.recording === known?.recording.id) sonogram.showCursor(detail.at_s);
});
addEventListener("silent", () => {
  sonogram.showCursor(null);
  if (byId("play")) byId("play").textContent = PLAY;
});
addEventListener("playing", () => byId("play") && (byId("play").textContent = STOP));

// --- Like this, not like that ----------------------------------------------------------------------

export function mark(kind) {
  const event = chosen();
  if (event === null) return;
  const other = kind === "like" ? "unlike" : "like";
  const marked = numbers(kind);
  const changes = marked.includes(event)
    ? { [kind]: marked.filter((each) => each !== event).join(",") }
    : { [kind]: [...marked, event].join(","), [other]: numbers(other).filter((each) => each !== event).join(",") };
  go(changes, { replace: true });
}

// What likeness is asked for: what was marked, or else the call shown.
export function asked() {
  const like = numbers("like");
  const event = chosen();
  if (like.length) return { like: like.join(","), unlike: state().unlike ?? "" };
  if (event === null || numbers("unlike").includes(event)) return null; // Nothing to be like.
  return { like: String(event), unlike: state().unlike ?? "" };
}

// --- The picture, as the address has it --------------------------------------------------------------

// Which seconds of the recording are seen, and whether only the frequencies of the call; nothing for
// the call in its context.
const zoomText = () =>
  [sonogram.from_s.toFixed(3), sonogram.to_s.toFixed(3), ...(sonogram.band === null ? [] : ["call"])].join(",");

function showZoom() {
  const [from, to, band_] = (state().zoom ?? "").split(",");
  const [from_s, to_s] = [Number(from), Number(to)];
  if (from_s < to_s) sonogram.setView(from_s, to_s, band_ === "call" ? known : null);
  else sonogram.setView(...contextOf(known), null);
  showFilled();
}

const showFilled = () => byId("fill") && (byId("fill").ariaPressed = sonogram.band !== null);

// What is seen of the call; for tests.
export const seen = () => ({
  start_s: sonogram.from_s, stop_s: sonogram.to_s, isFilled: sonogram.band !== null,
  darker: sonogram.contrast.darker, span: sonogram.contrast.span,
});

// How much darker, and how much more contrast, from -1 to 1.
function contrast() {
  const given = (state().contrast ?? "").split(",").map((text) => Math.max(-1, Math.min(1, Number(text))));
  return [given[0] || 0, given[1] || 0];
}

const showContrast = () => sonogram.setContrast(...contrast());

// --- The panel -------------------------------------------------------------------------------------

const field = (term, ...said) => [el("dt", {}, term), el("dd", {}, ...said)];
const slider = (name, value, oninput) =>
  el("label", { className: "slider" }, name, el("input", { type: "range", min: -1, max: 1, step: 0.05, value, oninput }));

const closeButton = () => button("×", () => go({ event: null }), { className: "close", ariaLabel: "Close this call" });

function draw(call) {
  known = call;
  const { recording } = call;
  const fill = () => {
    if (sonogram.band !== null) return go({ zoom: null }, { replace: true });
    const margin = 0.15 * (call.stop_s - call.start_s);
    sonogram.setView(call.start_s - margin, call.stop_s + margin, call);
    go({ zoom: zoomText() }, { replace: true });
  };
  const shades = ["Darker", "Contrast"].map((name, n) =>
    slider(name, contrast()[n], ({ target }) => {
      const next = contrast();
      next[n] = Number(target.value);
      go({ contrast: next.some(Boolean) ? next.join(",") : null }, { replace: true });
    }));

  put(byId("call"),
    el("header", {},
      el("h2", { id: "call-heading", tabIndex: -1 }, `Call ${call.event}`),
      call.type === NOT_GROUPED
        ? el("span", { className: "chip still" }, typeSwatch(call.type), typeTitle(call.type))
        : el("a", { className: "chip", href: `#view=types&type=${call.type}` }, typeSwatch(call.type), typeTitle(call.type)),
      closeButton(),
    ),
    el("p", { className: "facts" },
      [duration(call.stop_s - call.start_s), band(call.low_hz, call.high_hz),
        call.level_db === null ? null : `${call.level_db.toFixed(0)} dB above the background`,
        call.type === NOT_GROUPED || call.strength === null ? null : `belongs to its type with strength ${call.strength.toFixed(2)} of 1`,
      ].filter(Boolean).join(" · ")),
    sonogram.element,
    el("div", { className: "controls" },
      button(playing() ? STOP : PLAY, togglePlay, { id: "play", className: "button main", disabled: !call.has_sound }),
      speedChoice("speed-of-call"),
      el("span", { className: "together" },
        button("−", () => sonogram.zoomBy(0.5), { ariaLabel: "Show more around the call", title: "Show more around it" }),
        button("+", () => sonogram.zoomBy(2), { ariaLabel: "Magnify", title: "Magnify" }),
        button("Fill with call", fill, { id: "fill" })),
      shades,
    ),
    call.has_sound ? null : hint("The recording is not where it was, or was changed, so there is no sound: the picture comes from the workspace. Connect the disk that holds it, or run oscine index, and look again."),
    el("dl", { className: "fields" },
      ...field("When", when(call.start_ms, call.utc_offset_min)),
      ...field("Where", el("span", {}, recording.site || "site not known", recording.recorder ? `, recorder ${recording.recorder}` : "")),
      ...field("File", el("a", { href: `#view=recordings&recording=${recording.id}&t=`, title: recording.path }, fileName(recording.path)),
        `, at ${clock(call.start_s)}${call.note ? `; ${call.note}` : ""}`),
      ...Object.entries(call.labels ?? {}).map(([name, value]) => field(name, String(value))).flat(),
    ),
    el("canvas", { className: "place", id: "place", role: "img", ariaLabel: `The call lies at ${clock(call.start_s, 0)} of ${clock(recording.duration_s, 0)} of its recording` }),
    el("div", { className: "controls" },
      button("‹ Previous", () => step(-1), { title: "Key p" }),
      button("Next ›", () => step(1), { title: "Key n" }),
      atlas.has.writing && call.type !== NOT_GROUPED ? button("Name its type", () => askName(call.type), { title: "Key t" }) : null,
    ),
    el("section", { id: "nearest", ariaLabel: "Nearest calls" }),
    atlas.has.model ? reconstruction(call) : null,
  );

  sonogram.setRecording({ recording: recording.id, duration_s: recording.duration_s, has_sound: call.has_sound });
  sonogram.setBoxes([call], call.event);
  showContrast();
  showZoom();
  drawNearest();
  drawPlace();
}

// Where the call lies in its recording, among the others.
async function drawPlace() {
  const canvas = byId("place");
  const call = known;
  const { events, duration_s } = await recordingOf(call.recording.id);
  if (call !== known) return;
  sonogram.setBoxes(events, call.event);
  const { context, width, height } = surface(canvas);
  context.fillStyle = css(colour("--shade"));
  context.fillRect(0, 8, width, height - 16);
  for (const { start_s, stop_s, type } of events) {
    context.fillStyle = css(type === NOT_GROUPED ? colour("--noise") : typeRgb(type));
    context.fillRect((start_s / duration_s) * width, 8, Math.max(1, ((stop_s - start_s) / duration_s) * width), height - 16);
  }
  context.fillStyle = css(colour("--ink"));
  const x = (0.5 * (call.start_s + call.stop_s) / duration_s) * width;
  for (const [tip, base] of [[8, 1], [height - 8, height - 1]]) {
    context.beginPath();
    context.moveTo(x, tip);
    context.lineTo(x - 5, base);
    context.lineTo(x + 5, base);
    context.fill();
  }
  canvas.onclick = ({ offsetX }) => {
    const at_s = (offsetX / width) * duration_s;
    go({ view: "recordings", recording: call.recording.id, t: `${Math.max(0, at_s - 5).toFixed(2)},${Math.min(duration_s, at_s + 5).toFixed(2)}` });
  };
}

// --- Nearest calls ---------------------------------------------------------------------------------

function examples(kind, sign, words) {
  return numbers(kind).map((event) =>
    el("li", {}, el("button", {
      type: "button", className: "chip", ariaLabel: `${words} call ${event}: take away`,
      onclick: () => go({ [kind]: numbers(kind).filter((each) => each !== event).join(",") }, { replace: true }),
    }, `${sign} ${event}`, el("small", { ariaHidden: "true" }, "×"))));
}

function drawNearest() {
  const host = byId("nearest");
  if (!host) return;
  asking.abort();
  asking = new AbortController();
  const refined = numbers("like").length > 0 || numbers("unlike").length > 0;
  const marks = el("div", { className: "controls" },
    button("+ Like this", () => mark("like"), { ariaPressed: numbers("like").includes(known.event), title: "Key l" }),
    button("− Not like this", () => mark("unlike"), { ariaPressed: numbers("unlike").includes(known.event), title: "Key u" }),
    button("Colour the map by it", () => go({ view: "map", colour: "likeness" })),
    refined ? button("Start over", () => go({ like: null, unlike: null }, { replace: true })) : null,
  );
  const list = el("div", {}, hint("Comparing…"));
  put(host,
    el("h3", {}, refined ? "What is like these, and not like those" : "Nearest calls"),
    refined ? el("ul", { className: "chips" }, examples("like", "+", "Like"), examples("unlike", "−", "Not like")) : null,
    marks,
    list,
  );
  if (!asked()) return put(list, hint("This call is marked as what the others are not to be like. Mark one that they are to be like, too."));
  const { signal } = asking;
  into(list, ofGrouping(() => get("/api/similar", { ...asked(), top: TOP, own: OWN }, signal)), (found) => drawFound(list, found));
}

function drawFound(list, { others, own, notes = [], why }) {
  const rows = (found) => el("ul", { className: "found" }, found.map(foundRow));
  put(list,
    notes.map((note) => hint(prose(note))),
    why && others.every(({ percentile }) => percentile === null) ? hint(prose(why)) : null,
    others.some(({ percentile }) => percentile !== null)
      ? hint("The most alike first, by likeness. Each share is among unrelated pairs of calls as long, high and loud as the two, so a call further down may have a higher one.") : null,
    others.length ? rows(others) : hint("There is nothing to compare with in other recordings."),
    own.length ? [el("h4", {}, "In the same recording"), rows(own)] : null,
  );
}

function foundRow({ event, likeness, percentile, type, path, start_s, start_ms, utc_offset_min }) {
  const at = start_ms === null ? clock(start_s) : when(start_ms, utc_offset_min);
  const alikeness = `likeness ${likeness.toFixed(2)}`;
  return el("li", {},
    strip(event, 48),
    el("div", {},
      el("b", {}, percentile === null ? alikeness : percentileWords(percentile)),
      el("span", {}, typeSwatch(type), ` ${typeTitle(type)}`, percentile === null ? null : ` · ${alikeness}`),
      el("span", { title: path }, `${fileName(path)} · ${at}`),
    ),
  );
}

// --- A sound of one's own ----------------------------------------------------------------------------

export async function askSound(file) {
  const host = byId("call");
  go({ event: null }, { replace: true });
  host.replaceChildren(
    el("header", {}, el("h2", { id: "call-heading", tabIndex: -1 }, file.name),
      button("×", () => { host.replaceChildren(); showPanel(false); }, { className: "close", ariaLabel: "Close" })),
    hint("What sounds most like this file. It is only listened to, and not kept."),
  );
  const list = el("div", {}, hint("Listening…"));
  host.append(list);
  showPanel(true);
  await into(list, ofGrouping(() => post(address("/api/similar", { top: 2 * TOP }), file)), (found) => drawFound(list, found));
}

// --- What the masked model makes of it ---------------------------------------------------------------

function reconstruction({ event }) {
  const host = el("div", {});
  let seed = 0;
  const ask = () =>
    into(host, columns(`/api/events/${event}/reconstruction`, { seed: seed++ }), (made) => {
      if (made.available === false) return host.append(hint(prose(made.why)));
      host.append(
        el("div", { className: "made" }, ["seen", "shown", "drawn"].map((name) =>
          el("figure", {}, madePicture(made, name), el("figcaption", {}, MADE[name])))),
        button("Hide other parts", ask),
      );
    });
  const details = el("details", { className: "part", ontoggle: () => details.open && !host.childElementCount && ask() },
    el("summary", {}, "What the model makes of it"),
    hint("The model saw only parts of this picture and drew the rest. Where it draws well, it knows how such sounds go on."),
    host);
  return details;
}

const MADE = { seen: "the call", shown: "what the model was shown", drawn: "what it drew" };

function madePicture({ n_frames, n_bands, low_db, step_db, seen, hidden, drawn }, which) {
  const [black, white] = rangeOf({ level: seen, low_db, step_db });
  const image = new ImageData(n_frames, n_bands);
  const levels = which === "drawn" ? drawn : seen;
  for (let frame = 0; frame < n_frames; frame++) {
    for (let band_ = 0; band_ < n_bands; band_++) {
      const from = frame * n_bands + band_;
      const to = 4 * ((n_bands - 1 - band_) * n_frames + frame);
      const tint = which === "shown" && hidden[from] ? [128, 132, 134] : magma((low_db + levels[from] * step_db - black) / (white - black));
      image.data.set([...tint, 255], to);
    }
  }
  const canvas = el("canvas", { width: n_frames, height: n_bands, role: "img", ariaLabel: MADE[which] });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// --- What the address says ---------------------------------------------------------------------------

function showPanel(isOpen) {
  document.body.classList.toggle("has-call", isOpen);
}

async function fetchCall() {
  const wanted = chosen();
  try {
    const call = await eventOf(wanted);
    if (wanted === chosen()) draw(call);
  } catch (error) {
    if (wanted !== chosen()) return; // Another was chosen since.
    known = null;
    put(byId("call"),
      el("header", {}, el("h2", {}, `Call ${wanted}`), closeButton()),
      trouble(error.message));
  }
}

export function startCall() {
  onChange((now, changed) => {
    if (changed.has("event")) {
      showPanel(chosen() !== null);
      if (chosen() === null) {
        stop();
        known = null;
        byId("call").replaceChildren();
      } else if (known?.event !== chosen()) {
        fetchCall();
      }
    } else if (known) {
      if (changed.has("like") || changed.has("unlike")) drawNearest();
      if (changed.has("zoom") && now.zoom !== zoomText()) showZoom();
      if (changed.has("zoom")) showFilled();
      if (changed.has("contrast")) showContrast();
    }
  });
  addEventListener("regrouped", () => {
    if (chosen() !== null) fetchCall();
  });
  addEventListener("recoloured", () => {
    sonogram.redraw();
    if (known) drawPlace();
  });
}
