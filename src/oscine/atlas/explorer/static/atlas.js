// What the page knows of the archive: its summary, its points in columns, and calls as they are
// asked for. Everything here is read again when a sound type was named, merged or split.

import { el, swatch, tell } from "./dom.js";
import { SHAPES, rgb, shape } from "./colours.js";
import { columns, get } from "./server.js";
import { band, duration } from "./words.js";

export const NOT_GROUPED = -1;
const MOST_KEPT = 2000;
const CHANGED = "The archive has changed: load the page again.";

export let atlas = null;
export let points = null; // columns, one row for each point
let rowOf = new Map(); // event -> row
let types = new Map();
const kept = new Map(); // path -> promise of an answer

export async function load() {
  let next;
  do {
    next = await Promise.all([get("/api/atlas"), columns("/api/points")]);
  } while (next[0].grouping !== next[1].grouping); // Sound types changed between the two answers.
  [atlas, points] = next;
  types = new Map(atlas.types.map((type) => [type.number, type]));
  rowOf = new Map();
  points.event.forEach((event, row) => rowOf.set(event, row));
  kept.clear();
}

export async function reload() {
  await load();
  dispatchEvent(new Event("regrouped"));
}

// An answer with numbers of sound types, which in another grouping are those of others: where they
// were grouped anew since the page was loaded, it becomes that of now, and asks again.
let renewing = null;
export async function ofGrouping(ask) {
  const { grouping } = atlas;
  let found = await ask();
  if (found.grouping === atlas.grouping) return found;
  if (atlas.grouping === grouping) {
    tell("The sound types have changed: this page shows those of now.");
    await (renewing ??= reload().finally(() => (renewing = null)));
  }
  found = await ask();
  if (found.grouping !== atlas.grouping) throw new Error(CHANGED);
  return found;
}

// An answer that stays the same while the grouping does: asked once.
function once(path) {
  if (!kept.has(path)) {
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
    const answer = get(path);
    answer.catch(() => kept.delete(path));
    kept.set(path, answer);
  }
  return kept.get(path);
}

export const eventOf = async (event) => ({ event, ...(await ofGrouping(() => once(`/api/events/${event}`))) });
export const recordingOf = (recording) => ofGrouping(() => once(`/api/recordings/${recording}`));
export const rowOfEvent = (event) => rowOf.get(event);

// --- Commands ------------------------------------------------------------------------------------

// Text for a shell, which must take it as text whoever wrote it.
export const quoted = (text) => `"${text.replace(/[\\"$`]/g, "\\$&")}"`;

// Visitors from elsewhere are not told where the workspace lies.
export const inWorkspace = () => `-w ${atlas.workspace ? quoted(atlas.workspace) : "WORKSPACE"}`;

// Why there are no sound types and no map, and what makes them; null where they were looked for.
export function missingWords() {
  if (!atlas.missing.length) return null;
  return ["Nobody has looked for sound types yet, so there are none, and no map. This makes them: ",
    el("code", {}, atlas.missing.map((step) => `oscine ${step} ${inWorkspace()}`).join(" && ")),
    "; then load the page again. Recordings can be looked at and heard meanwhile."];
}

// --- Sound types -------------------------------------------------------------------------------

export const typeOf = (number) => types.get(number);

// A type without a name is told by its number.
export function typeName(number) {
  if (number === NOT_GROUPED) return "not grouped";
  return types.get(number)?.name || `Type ${number}`;
}
export function typeTitle(number) {
  const name = types.get(number)?.name;
  return name ? `${name} (type ${number})` : typeName(number);
}
const typeTint = (number) => types.get(number)?.colour ?? "var(--noise)";
export const typeRgb = (number) => rgb(types.get(number)?.colour ?? "9aa3a6");
export const typeShape = (number) => (number === NOT_GROUPED ? SHAPES[0] : shape(number));
export const typeSwatch = (number) => swatch(typeTint(number), typeShape(number));

// --- Points ------------------------------------------------------------------------------------

// What can be said of a point without asking.
export function describePoint(row) {
  return [
    duration(points.duration[row]),
    band(points.low[row], points.high[row]),
    Number.isNaN(points.level[row]) ? "" : `${points.level[row].toFixed(0)} dB above the background`,
  ].filter(Boolean).join(", ");
}

// An answer of one value a point, as columns. Another visitor may have made the server look again.
export async function ofPoints(path, parameters) {
  const found = await ofGrouping(() => columns(path, parameters));
  if (found.sample !== points.sample) throw new Error(CHANGED);
  return found;
}

// The key lets the browser keep it.
export const stripOf = (event) => `/api/events/${event}/strip.png?height=64&key=${atlas.key}`;
