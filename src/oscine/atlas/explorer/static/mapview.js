// The map: every call a point. What the points are coloured by, which are shown, the legend, hover.

import {
  NOT_GROUPED, atlas, describePoint, points, rowOfEvent, stripOf, typeName, typeRgb, typeShape, typeTitle,
} from "./atlas.js";
import { asked } from "./call.js";
import { HOURS, amount, category, colour, css } from "./colours.js";
import { byId, el, prose, put, say, swatch } from "./dom.js";
import { Scatter } from "./scatter.js";
import { setSelection } from "./selection.js";
import { columns, get, post } from "./server.js";
import { event as chosen, go, onChange, state } from "./state.js";
import { choose } from "./strips.js";
import { count, counted, hourText } from "./words.js";

const MOST_CATEGORIES = 20; // The others share a colour.
const BINS = 8; // Of what is a matter of degree.
const MOST_LABELS = 24; // Numbers written on the map.
const MOST_CORNERS = 40; // Of a lasso, so that it fits an address.
const AGAIN_MS = 800; // Between two looks whether another map is made.
const LEAST_ALIKE = 0.2; // At which the scale of likeness ends.
const NOTHING = "nothing"; // Is shown.
const BESIDE_PX = 14; // Between the pointer and the picture of what it points at.
const QUIET = 0.85; // How far what is not meant fades into the paper.

let scatter = null;
let look = null; // {of: category of each point, legend: [{id, name, colour, shape, rank, size, count}], layout}
let places = null; // {x, y} of each point, NaN where this map has none
let isMet = null; // for each point whether it meets the filter, or null
let emphasised = null; // id of the category that is pointed at
let middles = []; // [{type, x, y}]: where numbers are written

// --- What the points are coloured by ---------------------------------------------------------------

const faint = () => colour("--noise");

function counts(of, n) {
  const total = new Uint32Array(n);
  for (const each of of) total[each]++;
  return total;
}

function byType() {
  const order = new Map(atlas.types.map(({ number }, n) => [number, n + 1]));
  const of = Uint16Array.from(points.type, (type) => order.get(type) ?? 0);
  const noise = { id: String(NOT_GROUPED), name: "not grouped", colour: faint(), rank: 0, size: 0.8, count: atlas.not_grouped };
  const types = atlas.types.map(({ number, size }) => ({
    id: String(number), name: typeName(number), title: typeTitle(number), colour: typeRgb(number), shape: typeShape(number), count: size,
  }));
  return { of, legend: [noise, ...types] };
}

// Categories by size: those beyond the most frequent share a colour. `values` below 0 are unknown.
function byCategory(values, nameOf, unknown) {
  const sizes = new Map();
  for (const value of values) sizes.set(value, (sizes.get(value) ?? 0) + 1);
  const known = [...sizes.keys()].filter((value) => value >= 0).sort((one, other) => sizes.get(other) - sizes.get(one) || one - other);
  const own = known.length > MOST_CATEGORIES ? known.slice(0, MOST_CATEGORIES - 1) : known;
  const place = new Map(own.map((value, n) => [value, n + 2]));
  const of = Uint16Array.from(values, (value) => (value < 0 ? 0 : place.get(value) ?? 1));
  const total = counts(of, own.length + 2);
  return {
    of,
    legend: [
      { id: "none", name: unknown, colour: faint(), rank: 0, size: 0.8, count: total[0] },
      { id: "other", name: `${counted(known.length - own.length)} others`, colour: faint(), rank: 0, count: total[1] },
      ...own.map((value, n) => ({ id: String(value), name: nameOf(value), colour: category(n, own.length), count: total[n + 2] })),
    ],
  };
}

function byAmount(values, least, most, words) {
  const width = (most - least) / BINS;
  const of = Uint16Array.from(values, (value) =>
    Number.isNaN(value) ? 0 : 1 + Math.min(BINS - 1, Math.max(0, Math.floor((value - least) / width))));
  const total = counts(of, BINS + 1);
  return {
    of,
    layout: "bins",
    legend: [
      { id: "none", name: "not known", colour: faint(), rank: 0, size: 0.8, count: total[0] },
      ...Array.from({ length: BINS }, (_, n) => ({
        id: String(n), name: words(least + n * width, least + (n + 1) * width), colour: amount(n / (BINS - 1)), rank: n + 1, count: total[n + 1],
      })),
    ],
  };
}

function byHour() {
  const of = Uint16Array.from(points.hour, (hour) => (Number.isNaN(hour) ? 0 : 1 + Math.min(23, Math.floor(hour))));
  const total = counts(of, 25);
  return {
    of,
    layout: "hours",
    legend: [
      { id: "none", name: "time not known", colour: faint(), rank: 0, size: 0.8, count: total[0] },
      ...HOURS.map((tint, hour) => ({ id: String(hour), name: `${hourText(hour)} to ${hourText(hour + 1)}`, colour: tint, count: total[hour + 1] })),
    ],
  };
}

function quantile(values, share) {
  const sorted = Float32Array.from(values).filter((value) => !Number.isNaN(value)).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

// Rounded ends between which most values lie.
function ends(values) {
  const [least, most] = [Math.floor(quantile(values, 0.01)), Math.ceil(quantile(values, 0.99))];
  return [least, Math.max(most, least + 1)];
}

// Each gives a look, or a sentence why there is none.
const COLOURINGS = {
  type: byType,
  recording: async () => {
    const made = byCategory(points.recording, (id) => String(id), "");
    const ids = made.legend.map(({ id }) => id).filter((id) => /^\d+$/.test(id));
    const { rows } = await get("/api/recordings", { ids: ids.join(",") });
    const names = new Map(rows.map(({ id, path }) => [String(id), path]));
    for (const entry of made.legend) entry.name = names.get(entry.id) ?? entry.name;
    return made;
  },
  site: () => (atlas.has.sites ? byCategory(points.site, (n) => atlas.sites[n] || "no name", "site not known")
    : "No site is known. Say where sites are in your folders when you index them: `oscine index --site-from`"),
  hour: () => (atlas.has.times ? byHour()
    : "No recording says when it was made, or in which time zone. `oscine index --timezone` tells the zone"),
  level: () => byAmount(points.level, ...ends(points.level), (from, to) => `${from.toFixed(0)} to ${to.toFixed(0)} dB`),
  likeness: async () => {
    const question = asked();
    if (!question) return "Choose a call first: then the others are coloured by how alike they are to it.";
    const { cosine } = await columns("/api/points/likeness", question);
    // To where but the most alike lie beyond: in many archives no two calls are very alike.
    const most = Math.max(LEAST_ALIKE, Math.ceil(10 * quantile(cosine, 0.998)) / 10);
    return byAmount(cosine, 0, most, (from, to) =>
      (from <= 0 ? `below ${to.toFixed(2)}` : to >= most ? `${from.toFixed(2)} and more` : `${from.toFixed(2)} to ${to.toFixed(2)}`));
  },
  label: async (name) => {
    const label = atlas.labels.find((each) => each.name === name);
    if (!label) return "There is no such label.";
    const { value } = await columns(`/api/points/label/${encodeURIComponent(name)}`);
    return byCategory(value, (n) => label.values[n], "no label");
  },
};

// The address names what is hidden or, where that is shorter, what alone is shown.
const named = (text) => (text ?? "").split(",").filter(Boolean);
function hidden() {
  if (state().only === undefined) return new Set(named(state().hidden));
  const only = new Set(named(state().only));
  return new Set(look.legend.map(({ id }) => id).filter((id) => !only.has(id)));
}
function hide(out) {
  const shown = look.legend.map(({ id }) => id).filter((id) => !out.has(id));
  const isShorter = shown.length < out.size;
  go({ only: isShorter ? shown.join(",") || NOTHING : null, hidden: isShorter ? null : [...out].join(",") }, { replace: true });
}

async function recolour() {
  const [kind, ...rest] = state().colour.split(":");
  const wanted = state().colour;
  let made;
  try {
    made = await (COLOURINGS[kind] ?? byType)(rest.join(":"));
  } catch (error) {
    made = error.message;
  }
  if (wanted !== state().colour) return; // Another colour was chosen since.
  put(byId("map-trouble"), typeof made === "string" ? prose(made) : null);
  look = typeof made === "string" ? byType() : made;
  showLook();
  drawLegend();
}

// --- Drawing -----------------------------------------------------------------------------------------

const pointSize = () => Math.max(3.6, 11 - 1.9 * Math.log10(Math.max(points.n, 10)));

function showLook() {
  const out = hidden();
  const paper = colour("--panel");
  const looks = look.legend.map(({ id, colour: tint, shape = "circle", rank = 1, size = 1 }) => {
    const fades = emphasised !== null && emphasised !== id;
    return {
      colour: fades ? tint.map((value, n) => value + QUIET * (paper[n] - value)) : tint,
      size_px: size * pointSize(), shape, rank: fades ? 0 : rank, isShown: !out.has(id),
    };
  });
  scatter.setLook(look.of, looks, paper, isMet);
  byId("shown").textContent = shownWords(scatter.order.length);
  select();
}

function shownWords(n) {
  const all = points.is_sample ? `a sample of ${counted(points.n)} from ${count(points.total, "call")}` : count(points.n, "call");
  const ofSample = points.is_sample && state().colour !== "type" ? "; numbers below are those of the sample" : "";
  return (n === points.n ? all : `${counted(n)} of ${all} shown`) + ofSample;
}

// Above the points: numbers of sound types, the lasso, the chosen call, what is pointed at.
function paintOver(context, toScreen) {
  const [ink, paper, accent] = ["--ink", "--panel", "--accent"].map((name) => css(colour(name)));
  context.lineJoin = "round";
  if (look && state().colour === "type") {
    const out = hidden();
    const taken = [];
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3.5;
    for (const { type, x, y } of middles) {
      if (out.has(String(type)) || (emphasised !== null && emphasised !== String(type))) continue;
      const text = atlas.types.find(({ number }) => number === type)?.name || String(type);
      const [px, middle] = toScreen(x, y);
      const py = middle - pointSize() - 6; // above, so as not to hide what it names
      const wide = context.measureText(text).width / 2 + 4;
      if (taken.some(([ox, oy, ow]) => Math.abs(px - ox) < wide + ow && Math.abs(py - oy) < 15)) continue;
      taken.push([px, py, wide]);
      if (taken.length > MOST_LABELS) break;
      context.strokeStyle = paper;
      context.strokeText(text, px, py);
      context.fillStyle = ink;
      context.fillText(text, px, py);
    }
  }
  context.strokeStyle = accent;
  context.lineWidth = 2;
  const lasso = polygon();
  if (lasso) {
    context.beginPath();
    lasso.forEach(([x, y]) => context.lineTo(...toScreen(x, y)));
    context.closePath();
    context.stroke();
  }
  const ring = (row, radius, tint, width) => {
    if (row === undefined || row === null || Number.isNaN(places.x[row])) return;
    for (const [line, style] of [[width + 2.5, paper], [width, tint]]) {
      context.beginPath();
      context.arc(...toScreen(places.x[row], places.y[row]), radius, 0, 2 * Math.PI);
      [context.lineWidth, context.strokeStyle] = [line, style];
      context.stroke();
    }
  };
  ring(scatter.hovered, pointSize() / 2 + 3, ink, 1.5);
  ring(rowOfEvent(chosen()), pointSize() / 2 + 6, accent, 3);
  [context.lineWidth, context.strokeStyle] = [2, accent];
}

function findMiddles() {
  const rows = new Map(atlas.types.map(({ number }) => [number, []]));
  points.type.forEach((type, row) => {
    if (!Number.isNaN(places.x[row])) rows.get(type)?.push(row);
  });
  middles = [...rows].filter(([, members]) => members.length).map(([type, members]) => ({
    type, x: quantile(members.map((row) => places.x[row]), 0.5), y: quantile(members.map((row) => places.y[row]), 0.5),
  }));
}

// --- Legend --------------------------------------------------------------------------------------------

function toggle(id) {
  const out = hidden();
  if (!out.delete(id)) out.add(id);
  hide(out);
}

function emphasise(id) {
  emphasised = id;
  showLook();
}

function drawLegend() {
  const out = hidden();
  const host = byId("legend");
  // A day has all its hours, and a scale all its steps.
  const entries = look.legend.filter(({ id, count: n }) => n > 0 || (look.layout && id !== "none"));
  const most = Math.max(...entries.map(({ count: n }) => n));
  const chips = entries.map(({ id, name, title, colour: tint, shape = "circle", count: n }) =>
    el("li", {},
      el("button", {
        type: "button", className: "chip", ariaPressed: !out.has(id), data: { id },
        title: `${title ?? name}: ${count(n, "call")}. Click to hide or show.`,
        onclick: () => toggle(id), onpointerenter: () => emphasise(id), onpointerleave: () => emphasise(null),
        onfocus: ({ target }) => target.matches(":focus-visible") && emphasise(id), onblur: () => emphasised !== null && emphasise(null),
      },
        look.layout ? el("i", { className: "level", tint: css(tint), ariaHidden: "true" }) : swatch(css(tint), shape),
        el("span", { className: "name" }, look.layout === "hours" && id !== "none" ? Number(id) : name), el("small", {}, counted(n)))));
  host.className = `legend ${look.layout ?? ""}`;
  host.replaceChildren(...chips);
  if (look.layout) entries.forEach(({ count: n }, k) => chips[k].style.setProperty("--share", n / most));
  byId("legend-all").hidden = out.size === 0;
  byId("legend-none").hidden = out.size > 0 || entries.length < 2;
}

// --- Lasso -----------------------------------------------------------------------------------------------

function polygon() {
  const values = (state().lasso ?? "").split(",").map(Number);
  if (values.length < 6 || values.some(Number.isNaN)) return null;
  return Array.from({ length: Math.floor(values.length / 2) }, (_, n) => [values[2 * n], values[2 * n + 1]]);
}

// Corners that matter least go first: those whose triangle with their neighbours is smallest.
function simplified(corners) {
  const kept = [...corners];
  const area = (_, n) => {
    const [[ax, ay], [bx, by], [cx, cy]] = [-1, 0, 1].map((by_) => kept[(n + by_ + kept.length) % kept.length]);
    return Math.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay));
  };
  while (kept.length > MOST_CORNERS) {
    const areas = kept.map(area);
    kept.splice(areas.indexOf(Math.min(...areas)), 1);
  }
  return kept;
}

function keepLasso(corners) {
  go({ lasso: simplified(corners).flat().map((value) => value.toFixed(2)).join(","), event: null });
  setLasso(false);
}

function select() {
  const lasso = polygon();
  setSelection(lasso ? scatter.inside(lasso) : []);
}

export function setLasso(isOn) {
  scatter.isLasso = isOn;
  byId("lasso").ariaPressed = isOn;
  byId("map").classList.toggle("drawing", isOn);
  if (isOn) say("Draw around the calls you mean.");
}

// --- Hover -------------------------------------------------------------------------------------------------

const card = el("div", { className: "hover", hidden: true, ariaHidden: "true" }, el("img", { alt: "", height: 64 }), el("p", {}));

function onhover(row, at) {
  card.hidden = row === null;
  if (row === null) return;
  const [picture, words] = card.children;
  picture.src = stripOf(points.event[row]);
  const hour = Number.isNaN(points.hour[row]) ? "" : `, at ${hourText(points.hour[row])}`;
  words.textContent = `${typeTitle(points.type[row])}: ${describePoint(row)}${hour}`;
  const { clientWidth: width, clientHeight: height } = byId("map");
  // Beside the pointer, on the side where there is room.
  card.style.left = at[0] < width / 2 ? `${at[0] + BESIDE_PX}px` : "auto";
  card.style.right = at[0] < width / 2 ? "auto" : `${width - at[0] + BESIDE_PX}px`;
  card.style.top = at[1] < height / 2 ? `${at[1] + BESIDE_PX}px` : "auto";
  card.style.bottom = at[1] < height / 2 ? "auto" : `${height - at[1] + BESIDE_PX}px`;
}

// Where each point is drawn, as [x, y] from the corner of the map; for tests and measurements.
export const drawnAt = () => Array.from(places.x, (x, row) => scatter.toScreen(x, places.y[row]));

// --- Other maps, and filters ---------------------------------------------------------------------------------

async function drawFrom(layer) {
  const said = byId("layer-said");
  if (layer === undefined) {
    places = { x: points.x, y: points.y };
    said.textContent = "";
  } else {
    said.textContent = "Another map is drawn; that takes a moment.";
    try {
      await post("/api/maps", { layer: Number(layer) });
      let made = null;
      while (!(made = await columns(`/api/maps/${layer}`))) {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        if (state().layer !== layer) return;
      }
      const [x, y] = [new Float32Array(points.n).fill(NaN), new Float32Array(points.n).fill(NaN)];
      made.event.forEach((event, n) => {
        const row = rowOfEvent(event);
        if (row !== undefined) [x[row], y[row]] = [made.x[n], made.y[n]];
      });
      if (state().layer !== layer) return;
      places = { x, y };
      said.textContent = `The map as layer ${layer} of the model hears it${made.event.length < points.n ? `, of a sample of ${counted(made.event.length)} calls` : ""}.`;
    } catch (error) {
      put(said, prose(error.message));
      return;
    }
  }
  scatter.setPlaces(places.x, places.y);
  findMiddles();
  scatter.redraw();
}

async function filter() {
  const { where } = state();
  const field = byId("where");
  field.value = where ?? "";
  try {
    isMet = where ? (await columns("/api/points/where", { q: where })).is_met : null;
    byId("where-trouble").textContent = "";
  } catch (error) {
    isMet = null;
    put(byId("where-trouble"), prose(error.message));
  }
}

// --- Start -----------------------------------------------------------------------------------------------------

function fillColours() {
  const choices = [
    ["type", "sound type"], ["recording", "recording"], ["site", "site"], ["hour", "hour of day"], ["level", "level"],
    ...atlas.labels.map(({ name }) => [`label:${name}`, `label: ${name}`]),
    ["likeness", "likeness to the chosen call"],
  ];
  byId("colour").replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
}

async function fillLayers() {
  if (!atlas.has.model) return;
  const { maps } = await get("/api/layers");
  byId("layer").replaceChildren(el("option", { value: "" }, "the whole model"), ...maps.map(({ layer, name }) => el("option", { value: layer }, name)));
  byId("layer").parentElement.hidden = maps.length === 0;
  byId("layer").value = state().layer ?? "";
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onkeydown(event) {
  if (event.key in STEPS) {
    const row = rowOfEvent(chosen()) ?? scatter.order[0];
    const next = chosen() === null ? row : scatter.beside(row, ...STEPS[event.key]);
    if (next !== null && next !== undefined) choose(points.event[next]);
  } else if (event.key === "+" || event.key === "=") scatter.zoomBy(1.5);
  else if (event.key === "-") scatter.zoomBy(1 / 1.5);
  else if (event.key === "0") scatter.reset();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function viewOfAddress() {
  const [x, y, zoom] = (state().at ?? "").split(",").map(Number);
  return zoom > 0 ? { x, y, zoom } : null;
}

export function startMap() {
  const host = byId("map");
  host.append(card);
  scatter = new Scatter(host, {
    onhover, paintOver,
    onpick: (row) => choose(points.event[row]),
    onlasso: keepLasso,
    onmoved: (view) => state().view === "map" && go({ at: view ? [view.x.toFixed(3), view.y.toFixed(3), view.zoom.toPrecision(4)].join(",") : null }, { replace: true }),
  });
  host.addEventListener("keydown", onkeydown);
  byId("zoom-in").onclick = () => scatter.zoomBy(1.5);
  byId("zoom-out").onclick = () => scatter.zoomBy(1 / 1.5);
  byId("reset").onclick = () => scatter.reset();
  byId("lasso").onclick = () => setLasso(!scatter.isLasso);
  byId("list").onclick = () => keepLasso(scatter.seen());
  byId("colour").onchange = ({ target }) => go({ colour: target.value, hidden: null, only: null });
  byId("layer").onchange = ({ target }) => go({ layer: target.value, at: null, lasso: null });
  byId("legend-all").onclick = () => hide(new Set());
  byId("legend-none").onclick = () => hide(new Set(look.legend.map(({ id }) => id)));
  byId("filter").onsubmit = (submitted) => {
    submitted.preventDefault();
    const text = byId("where").value.trim();
    if (/^\d+$/.test(text)) choose(Number(text));
    else go({ where: text });
  };
  addEventListener("recoloured", recolour);
  addEventListener("regrouped", async () => {
    await filter();
    await drawFrom(state().layer);
    await recolour();
  });

  fillColours();
  fillLayers().catch(() => {}); // Then there is the one map only.
  scatter.view = viewOfAddress();
  drawFrom(undefined);

  onChange(async (now, changed) => {
    if (now.view === "map" && changed.has("view")) scatter.redraw();
    if (changed.has("at") && now.view === "map" && now.at !== scatterPlace()) scatter.moveTo(viewOfAddress());
    if (changed.has("layer")) await drawFrom(now.layer);
    if (changed.has("where")) {
      await filter();
      if (look) showLook();
    }
    if (changed.has("colour")) {
      byId("colour").value = now.colour;
      await recolour();
    } else if (now.colour === "likeness" && ["event", "like", "unlike"].some((name) => changed.has(name))) await recolour();
    else if ((changed.has("hidden") || changed.has("only")) && look) {
      showLook();
      drawLegend();
    } else if (changed.has("lasso") && look) {
      select();
      scatter.redraw();
    }
    if (changed.has("event")) {
      const row = rowOfEvent(chosen());
      if (row !== undefined && now.view === "map") scatter.show(row);
      scatter.repaint();
    }
  });
}

function scatterPlace() {
  const { view } = scatter;
  return view ? [view.x.toFixed(3), view.y.toFixed(3), view.zoom.toPrecision(4)].join(",") : undefined;
}
