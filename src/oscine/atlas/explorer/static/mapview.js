// The map: every call a point. Which are shown, the legend, the lasso, and what is pointed at.

import { atlas, describePoint, ofPoints, points, rowOfEvent, stripOf, typeTitle } from "./atlas.js";
import { UNKNOWN, byType, lookOf, quantile } from "./colourings.js";
import { colour, css } from "./colours.js";
import { byId, el, prose, put, say, swatch } from "./dom.js";
import { Scatter } from "./scatter.js";
import { setSelection } from "./selection.js";
import { columns, get, post } from "./server.js";
import { event as chosen, go, onChange, state } from "./state.js";
import { choose } from "./strips.js";
import { count, counted, hourText } from "./words.js";

const MOST_LABELS = 24; // Numbers written on the map.
const MOST_CORNERS = 40; // Of a lasso, so that it fits an address.
const AGAIN_MS = 800; // Between two looks whether another map is made.
const NOTHING = "nothing"; // Is shown.
const BESIDE_PX = 14; // Between the pointer and the picture of what it points at.
const SHEET = "(max-width: 61.99rem)"; // Where a chosen call lies over the lower part of the page,
const SHEET_TOP = 0.56; // from this share of its height on, as the style has it.
const QUIET = 0.85; // How far what is not meant fades into the paper.

let scatter = null;
let look = null; // what the points are coloured by: {of, legend, layout}
let places = null; // {x, y} of each point, NaN where this map has none
let drawn; // the readout whose map they are of, undefined of that of the archive
let sample = null; // what stands for the points that are drawn, in their order
let isMet = null; // for each point whether it meets the filter, or null
let asks = 0; // for colours, of which the last counts
let filters = 0; // asked for, of which the last counts
let emphasised = null; // id of the category that is pointed at
let middles = []; // [{type, x, y}]: where numbers are written

// --- What is shown -----------------------------------------------------------------------------------

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
  const mine = ++asks;
  const made = await lookOf(state().colour);
  if (mine !== asks) return; // Another colour was chosen since, or another call to be like.
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
      const away = pointSize() + 6; // above or below, so as not to hide what it names
      const wide = context.measureText(text).width / 2 + 4;
      const isFree = (py) => !taken.some(([ox, oy, ow]) => Math.abs(px - ox) < wide + ow && Math.abs(py - oy) < 15);
      const py = [middle - away, middle + away].find(isFree);
      if (py === undefined) continue;
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
  emphasised = null; // What was hidden just now stands out from nothing.
  hide(out);
}

function emphasise(id) {
  emphasised = hidden().has(id) ? null : id;
  showLook();
}

function drawLegend() {
  const out = hidden();
  const host = byId("legend");
  // A day has all its hours, and a scale all its steps.
  const entries = look.legend.filter(({ id, count: n }) => n > 0 || (look.layout && id !== UNKNOWN));
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
        el("span", { className: "name" }, look.layout === "hours" && id !== UNKNOWN ? Number(id) : name), el("small", {}, counted(n)))));
  host.className = `legend ${look.layout ?? ""}`;
  host.replaceChildren(...chips);
  if (look.layout) entries.forEach(({ count: n }, k) => chips[k].style.setProperty("--share", n / most));
  byId("legend-all").hidden = out.size === 0;
  byId("legend-none").hidden = out.size > 0 || entries.length < 2;
}

// --- Lasso -----------------------------------------------------------------------------------------------

// A lasso around places of another map than the one that is seen holds nothing.
function polygon() {
  if (drawn !== state().readout) return null;
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

// A place on the map as the address holds it: so exact that pixels are told apart.
const exactly = (value) => value.toFixed(Math.max(2, Math.ceil(Math.log10(scatter.scale))));
const viewText = (view) => view && [exactly(view.x), exactly(view.y), view.zoom.toPrecision(4)].join(",");

function keepLasso(corners) {
  go({ readout: drawn ?? null, lasso: simplified(corners).flat().map(exactly).join(","), event: null });
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

// Where a call covers the lower part of the page, the map goes up, so that its point stays seen.
function showAbove(row) {
  scatter.show(row);
  if (!matchMedia(SHEET).matches) return;
  const y = byId("map").getBoundingClientRect().top + scatter.toScreen(places.x[row], places.y[row])[1];
  if (y < 0 || y > SHEET_TOP * innerHeight - pointSize()) scrollBy(0, y - (SHEET_TOP * innerHeight) / 2);
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

function setPlaces(x, y, readout) {
  [places, drawn, sample] = [{ x, y }, readout, points.sample];
  scatter.setPlaces(x, y);
  findMiddles();
  if (look) showLook();
}

const readBy = (readout) =>
  readout === "individuals" ? "by what tells individuals apart" : `as layer ${readout.replace("layer-", "")} of the model hears it`;

async function drawBy(readout) {
  const [said, map] = [byId("readout-said"), byId("map")];
  if (readout === undefined) {
    map.ariaBusy = null;
    said.textContent = "";
    setPlaces(points.x, points.y, readout);
  } else {
    const begun_ms = Date.now();
    const bar = el("progress", { max: 1, ariaLabel: "How far the map is" }); // Not known at first.
    const passed = el("span", {});
    const tick = () => (passed.textContent = ` ${((Date.now() - begun_ms) / 1000).toFixed(0)} s`);
    const ticking = setInterval(tick, 1000);
    tick();
    put(said, `Computing the map ${readBy(readout)}, which may take some minutes: `, bar, passed);
    map.ariaBusy = true;
    try {
      await post("/api/maps", { readout });
      let made = null;
      while (!(made = await columns(`/api/maps/${readout}`)).event) {
        if (made.share) bar.value = made.share;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        if (state().readout !== readout) return;
      }
      const [x, y] = [new Float32Array(points.n).fill(NaN), new Float32Array(points.n).fill(NaN)];
      made.event.forEach((event, n) => {
        const row = rowOfEvent(event);
        if (row !== undefined) [x[row], y[row]] = [made.x[n], made.y[n]];
      });
      if (state().readout !== readout) return;
      setPlaces(x, y, readout);
      said.textContent = `The map ${readBy(readout)}${made.event.length < points.n ? `, of a sample of ${counted(made.event.length)} calls` : ""}.`;
    } catch (error) {
      if (state().readout === readout) put(said, prose(error.message));
    } finally {
      clearInterval(ticking);
      if (state().readout === readout) map.ariaBusy = null;
    }
  }
}

// Other calls are on the map, or in another order: at once, so that none is taken for another. What
// must be asked of them comes after; until then, none is known to meet the filter.
function startAnew() {
  isMet = state().where ? new Uint8Array(points.n) : null;
  look = byType();
  setPlaces(points.x, points.y, undefined);
  drawLegend();
}

async function filter() {
  const mine = ++filters;
  const { where } = state();
  byId("where").value = where ?? "";
  let [met, trouble, nUntimed] = [null, null, 0];
  try {
    if (where) ({ is_met: met, n_untimed: nUntimed } = await ofPoints("/api/points/where", { q: where }));
  } catch (error) {
    trouble = prose(error.message);
  }
  if (mine !== filters) return; // Another condition was asked for since, or of other calls.
  isMet = met;
  put(byId("where-trouble"), trouble);
  put(byId("where-untimed"), nUntimed ? prose(`Of ${count(nUntimed, "call")} the time is not known: no condition on time is met by them. \`oscine status\` says why.`) : null);
  if (look) showLook();
}

// --- Start -----------------------------------------------------------------------------------------------------

function fillColours() {
  const choices = [
    ["type", "sound type"], ["recording", "recording"], ["site", "site"], ["hour", "hour of day"], ["level", "level"],
    ...atlas.labels.map(({ name }) => [`label:${name}`, `label: ${name}`]),
    ["likeness", "likeness to the chosen call"],
  ];
  byId("colour").replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
  byId("colour").value = state().colour;
}

async function fillReadouts() {
  if (!atlas.has.model) return;
  const { maps } = await get("/api/layers");
  byId("readout").replaceChildren(el("option", { value: "" }, "the whole model"), ...maps.map(({ readout, name }) => el("option", { value: readout }, name)));
  byId("readout").parentElement.hidden = maps.length === 0;
  byId("readout").value = state().readout ?? "";
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
  const tools = host.querySelector("[role=toolbar]");
  host.append(card);
  scatter = new Scatter(host, {
    onhover, paintOver,
    onpick: (row) => choose(points.event[row]),
    onlasso: keepLasso,
    onmoved: (view) => state().view === "map" && go({ at: viewText(view) }, { replace: true }),
    roomAbove: () => tools.offsetTop + tools.offsetHeight,
  });
  host.addEventListener("keydown", onkeydown);
  byId("zoom-in").onclick = () => scatter.zoomBy(1.5);
  byId("zoom-out").onclick = () => scatter.zoomBy(1 / 1.5);
  byId("reset").onclick = () => scatter.reset();
  byId("lasso").onclick = () => setLasso(!scatter.isLasso);
  byId("list").onclick = () => keepLasso(scatter.seen());
  byId("colour").onchange = ({ target }) => go({ colour: target.value, hidden: null, only: null });
  byId("readout").onchange = ({ target }) => go({ readout: target.value, at: null, lasso: null });
  byId("legend-all").onclick = () => hide(new Set());
  byId("legend-none").onclick = () => hide(new Set(look.legend.map(({ id }) => id)));
  byId("filter").onsubmit = (submitted) => {
    submitted.preventDefault();
    const text = byId("where").value.trim();
    if (/^\d+$/.test(text)) choose(Number(text));
    else go({ where: text });
  };
  addEventListener("recoloured", recolour);
  addEventListener("regrouped", () => {
    if (points.sample !== sample) startAnew();
    filter();
    recolour();
    drawBy(state().readout);
  });

  fillColours();
  addEventListener("regrouped", fillColours); // There may be labels that came since.
  fillReadouts().catch(() => {}); // Then there is the one map only.
  scatter.view = viewOfAddress();
  drawBy(undefined);

  onChange(async (now, changed) => {
    if (now.view === "map" && changed.has("view")) scatter.redraw();
    if (changed.has("at") && now.view === "map" && (now.at ?? null) !== viewText(scatter.view)) scatter.moveTo(viewOfAddress());
    // It may take a minute, in which the map of before is there.
    if (changed.has("readout")) {
      byId("readout").value = now.readout ?? "";
      drawBy(now.readout);
      if (look) select();
    }
    if (changed.has("where")) await filter();
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
      if (row !== undefined && now.view === "map") showAbove(row);
      scatter.repaint();
    }
  });
}
