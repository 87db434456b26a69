// Starts the page: reads the archive's summary and points, then lets every view follow the address.

import { atlas, load, missingWords, points, rowOfEvent } from "./atlas.js";
import { startBehaviour } from "./behaviour.js";
import { askSound, mark, startCall, step, togglePlay } from "./call.js";
import { isDark, setTheme } from "./colours.js";
import { byId, complain, el, prose, put, say } from "./dom.js";
import { askName } from "./edits.js";
import { startLayers } from "./layers.js";
import { setLasso, startMap } from "./mapview.js";
import { slower, stop } from "./player.js";
import { scrollRecording, startRecordings, toggleRecording } from "./recordings.js";
import { playAll } from "./selection.js";
import { event, go, onChange, state } from "./state.js";
import { startTypes } from "./types.js";
import { count, longDuration } from "./words.js";

const VIEWS = ["map", "types", "recordings", "layers", "behaviour"];

function startViews() {
  onChange(({ view }, changed) => {
    if (!VIEWS.includes(view)) return go({ view: null }, { replace: true });
    for (const name of VIEWS) {
      byId(`view-${name}`).hidden = name !== view;
      const link = document.querySelector(`nav a[href="#view=${name}"]`);
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.body.dataset.view = view;
    if (changed.has("view")) stop();
    document.title = `${byId(`view-${view}`).querySelector("h2").textContent} – ${atlas.title}`;
  });
  // Links change what they name, and leave what else is chosen.
  addEventListener("click", (click) => {
    const link = click.target.closest("a[href^='#']");
    if (!link || click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    if (link.hash === "#main") byId("main").focus();
    else go(Object.fromEntries(new URLSearchParams(link.hash.slice(1))));
  });
}

// --- Keys ------------------------------------------------------------------------------------------

function typeInSight() {
  const row = rowOfEvent(event());
  if (row !== undefined) return points.type[row];
  return state().view === "types" && state().type !== undefined ? Number(state().type) : null;
}

const KEYS = {
  " ": () => (event() === null && state().view === "recordings" ? toggleRecording() : togglePlay()),
  n: () => step(1),
  p: () => step(-1),
  s: slower,
  l: () => mark("like"),
  u: () => mark("unlike"),
  t: () => typeInSight() !== null && askName(typeInSight()),
  a: playAll,
  "/": () => {
    const field = byId(state().view === "recordings" ? "recordings-text" : "where");
    if (!["recordings", "map"].includes(state().view)) go({ view: "map" });
    field.focus();
    field.select();
  },
  "?": () => byId("help").showModal(),
  ArrowLeft: () => state().view === "recordings" && scrollRecording(-0.5),
  ArrowRight: () => state().view === "recordings" && scrollRecording(0.5),
  Escape: () => {
    setLasso(false);
    go({ event: null });
  },
  ...Object.fromEntries(VIEWS.map((view, n) => [String(n + 1), () => go({ view })])),
};

function startKeys() {
  addEventListener("keydown", (pressed) => {
    const { key, target, ctrlKey, metaKey, altKey } = pressed;
    if (ctrlKey || metaKey || altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=radio], [type=checkbox], [type=range]), select, textarea")) {
      if (key === "Escape") target.blur();
      return;
    }
    // Space presses what was reached by keyboard.
    if (key === " " && target.matches("summary, input, :is(a, button):focus-visible")) return;
    if (key.startsWith("Arrow") && target.matches("input, [tabindex='0']")) return;
    const act = KEYS[key];
    if (!act) return;
    pressed.preventDefault();
    act();
  });
}

// --- Head ------------------------------------------------------------------------------------------

function drawHead() {
  byId("title").textContent = atlas.title;
  const { events, recordings, hours, types, sites } = atlas;
  byId("summary").textContent = [
    count(events, "call"), count(recordings, "recording"), longDuration(3600 * hours), count(types.length, "sound type"),
    sites.length > 1 ? count(sites.length, "site") : null,
  ].filter(Boolean).join(" · ");
  put(byId("notes"), atlas.notes.map((note) => el("li", {}, prose(note))));
  byId("notes-part").hidden = atlas.notes.length === 0;
  byId("nothing").hidden = events > 0;
  put(byId("no-map"), events > 0 ? missingWords() : null);
}

function startHead() {
  drawHead();
  addEventListener("regrouped", drawHead);
  byId("theme").onclick = () => {
    setTheme(isDark() ? "light" : "dark");
    say(isDark() ? "Dark" : "Light");
  };
  byId("help-open").onclick = () => byId("help").showModal();
  const file = byId("own-sound");
  file.parentElement.hidden = !atlas.has.model;
  file.onchange = () => {
    if (file.files.length) askSound(file.files[0]);
    file.value = "";
  };
}

setTheme(null);
try {
  await load();
  startHead();
  startViews();
  startCall();
  startMap();
  startTypes();
  startRecordings();
  startLayers();
  startBehaviour();
  startKeys();
} catch (error) {
  complain(error.message);
  if (!error.status) throw error;
} finally {
  document.body.classList.remove("starting");
}
