// The calls within the lasso: a list that is listened through.

import { atlas, inWorkspace, points, quoted, rowOfEvent, typeSwatch, typeTitle } from "./atlas.js";
import { button, byId, el, hint, say } from "./dom.js";
import { stop } from "./player.js";
import { go, state } from "./state.js";
import { playEvent, strip } from "./strips.js";
import { count, counted } from "./words.js";

const MOST_CHIPS = 6;
const AT_ONCE = 60; // Shown before more is asked for.
const [PLAY, STOP] = ["▶ Play all", "■ Stop"];
let events = [];
let isRunning = false; // All are played, one after another.

export const selection = () => events;

export function setSelection(rows) {
  const before = events;
  events = rows.map((row) => points.event[row]);
  if (before.length !== events.length || before.some((event, n) => event !== events[n])) draw(rows);
}

async function playFrom(position) {
  const number = events[position];
  if (number === undefined) return ended();
  go({ event: number }, { replace: true });
  byId("selection").querySelector(`[data-event="${number}"]`)?.scrollIntoView({ block: "nearest" });
  if (!(await playEvent(number, () => isRunning && playFrom(position + 1)))) return ended();
  isRunning = true;
  byId("run").textContent = STOP;
}

function ended() {
  isRunning = false;
  if (byId("run")) byId("run").textContent = PLAY;
}

export function playAll() {
  const wasRunning = isRunning;
  ended();
  stop();
  if (!wasRunning && events.length) playFrom(0);
}

// Falling silent before the end is the listener's wish.
addEventListener("silent", ({ detail }) => !detail.isHeard && ended());

addEventListener("regrouped", () => draw(events.map(rowOfEvent)));

function draw(rows) {
  const host = byId("selection");
  document.body.classList.toggle("has-selection", events.length > 0);
  host.replaceChildren();
  if (!events.length) return;
  const counts = new Map();
  for (const row of rows) counts.set(points.type[row], (counts.get(points.type[row]) ?? 0) + 1);
  const ordered = [...counts].sort(([, one], [, other]) => other - one);
  const others = ordered.length - MOST_CHIPS;
  const list = el("ul", { className: "strips" });
  const more = button("", () => show(), { className: "button more" });
  const show = () => {
    const shown = list.childElementCount;
    list.append(...events.slice(shown, shown + AT_ONCE).map((event) => el("li", {}, strip(event, 48))));
    more.textContent = `Show more (${counted(events.length - list.childElementCount)} left)`;
    more.hidden = list.childElementCount >= events.length;
  };
  host.append(
    el("header", {},
      el("h2", { id: "selection-heading" }, count(events.length, "call")),
      button(isRunning ? STOP : PLAY, playAll, { id: "run" }),
      button("×", () => go({ lasso: null }), { className: "close", ariaLabel: "Let these calls go" })),
    el("p", { className: "chips" }, ordered.slice(0, MOST_CHIPS).map(([type, n]) => el("span", { className: "chip still" }, typeSwatch(type), typeTitle(type), el("small", {}, counted(n)))),
      others > 0 ? `and ${counted(others)} more` : null),
    list, more,
    el("details", {},
      el("summary", {}, "Take them home"),
      hint("A table of the numbers of these calls, which every table of the workspace uses:"),
      button("Save as CSV", save),
      hint("Whole sound types, all that these calls are of, as clips; with another word after --to, tables for Raven, Audacity or R, or a page to share. For a shell where Oscine is installed:"),
      el("p", {}, el("code", {}, exportCommand(ordered))),
      atlas.workspace ? null : hint("WORKSPACE stands for the folder of this workspace, where it lies.")),
  );
  show();
  say(`${count(events.length, "call")} chosen`);
}

function exportCommand(counts) {
  const types = counts.map(([type]) => ` --cluster ${type}`).join("");
  const where = state().where ? ` --where ${quoted(state().where)}` : "";
  return `oscine export --to clips${types}${where} --out clips ${inWorkspace()}`;
}

function save() {
  const rows = ["event", ...events].join("\r\n");
  const link = el("a", { href: URL.createObjectURL(new Blob([rows, "\r\n"], { type: "text/csv" })), download: "calls.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}
