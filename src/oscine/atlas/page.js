// The page is whole without this script: it adds the map, the curve, and the playing of sounds.
// The sound type that is looked at lives in the address (#type-3), so that links and the
// browser's back button work; everything that shows it follows from there.

const data = JSON.parse(document.getElementById("atlas-data").textContent);
const { events, recordings, names, palette, symbols, curve } = data;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const escapeHtml = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const PLOT_CONFIG = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false, // Plotly's own button would upload the events to its server.
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
};
const NOISE = -1;
const [SHORT_S, LOW_HZ] = [0.2, 1000]; // Shorter ones show milliseconds, lower ones hertz.
const MOST_NUMBERS = 20; // More numbers than this would hide the map.

function plainLayout() {
  const clear = "rgba(0,0,0,0)";
  return {
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    modebar: { bgcolor: clear, color: colour("--muted"), activecolor: colour("--accent") },
    font: { family: "system-ui, sans-serif", color: colour("--ink") },
    hoverlabel: {
      align: "left",
      bgcolor: colour("--panel"),
      bordercolor: colour("--muted"),
      font: { color: colour("--ink") },
    },
  };
}

function clock(seconds, digits) {
  const parts = 10 ** digits;
  const rounded = Math.round(seconds * parts);
  const hours = Math.floor(rounded / (3600 * parts));
  const minutes = Math.floor(rounded / (60 * parts)) % 60;
  const rest = ((rounded % (60 * parts)) / parts).toFixed(digits).padStart(3 + digits, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const called = (type) => (names[type] ? `: ${names[type]}` : "");
const typeName = (type) => (type === NOISE ? "Not grouped" : `Type ${type}${called(type)}`);
const anchor = (type) => (type === NOISE ? "not-grouped" : `type-${type}`);

function describe(row) {
  const [low, high] = [events.low_hz[row], events.high_hz[row]];
  const band = high < LOW_HZ
    ? `${low.toFixed(0)}–${high.toFixed(0)} Hz`
    : `${(low / 1000).toFixed(1)}–${(high / 1000).toFixed(1)} kHz`;
  const [start, stop] = [events.start_s[row], events.stop_s[row]];
  const digits = stop - start < SHORT_S ? 3 : 2;
  const span = `${clock(start, digits)} to ${clock(stop, digits)}`;
  return { recording: recordings[events.recording[row]], span, band };
}

function when(row) {
  const began = events.began_ms[row];
  if (began === null) return "at a time not known";
  return new Date(began).toISOString().replace("T", " ").replace("Z", " UTC");
}

// --- Map ---------------------------------------------------------------------------------

const mapElement = document.getElementById("map");
const rowsOfType = new Map();
events.cluster.forEach((type, row) => {
  if (!rowsOfType.has(type)) rowsOfType.set(type, []);
  rowsOfType.get(type).push(row);
});
const types = [...rowsOfType.keys()].sort((a, b) => a - b); // Noise first: it lies underneath.
const hasWebgl = Boolean(document.createElement("canvas").getContext("webgl"));
const pointSize = Math.max(3.5, 11 - 1.9 * Math.log10(Math.max(events.x.length, 10)));
let ringed = null; // The event last clicked or played, a row number.
const column = (name, rows) => rows.map((row) => events[name][row]);

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const points = types.map((type) => {
  const rows = rowsOfType.get(type);
  return {
    type: hasWebgl ? "scattergl" : "scatter",
    mode: "markers",
    x: column("x", rows),
    y: column("y", rows),
    customdata: rows,
    hoverinfo: "text",
    text: rows.map((row) => {
      const { recording, span, band } = describe(row);
      return `<b>${escapeHtml(typeName(type))}</b><br>${escapeHtml(recording)}<br>${span}<br>${band}`;
    }),
  };
});

// Annotations, because they lie above the points; a text trace would lie below.
function typeNumbers() {
  return types
    .filter((type) => type !== NOISE && type < MOST_NUMBERS)
    .map((type) => ({
      x: median(column("x", rowsOfType.get(type))),
      y: median(column("y", rowsOfType.get(type))),
      text: `<b>${type}</b>`,
      showarrow: false,
      font: { size: 12, color: colour("--ink") },
    }));
}

function drawMap(selected) {
  const traces = points.map((trace, position) => {
    const type = types[position];
    const quiet = selected !== null && type !== selected;
    const isNoise = type === NOISE;
    return {
      ...trace,
      marker: {
        size: isNoise ? pointSize * 0.8 : pointSize,
        color: isNoise ? colour("--noise") : palette[type % palette.length],
        symbol: isNoise ? "circle" : symbols[Math.floor(type / palette.length) % symbols.length],
        opacity: quiet ? 0.1 : isNoise && selected === null ? 0.45 : 0.85,
      },
    };
  });
  if (ringed !== null) {
    traces.push({
      type: "scatter",
      mode: "markers",
      x: [events.x[ringed]],
      y: [events.y[ringed]],
      marker: { size: pointSize + 9, color: "rgba(0,0,0,0)", line: { width: 2.5, color: colour("--ink") } },
      hoverinfo: "skip",
    });
  }
  const axis = { visible: false, zeroline: false };
  Plotly.react(mapElement, traces, {
    uirevision: "kept", // Zoom survives a change of selection.
    showlegend: false,
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: axis,
    yaxis: { ...axis, scaleanchor: "x" },
    annotations: selected === null ? typeNumbers() : [],
    ...plainLayout(),
  }, PLOT_CONFIG);
}

function showEvent(row) {
  const { recording, span, band } = describe(row);
  const type = events.cluster[row];
  const parts = [
    `<b>${escapeHtml(typeName(type))}</b>, event ${escapeHtml(events.event_id[row])}: <b>${escapeHtml(recording)}</b>`,
    span,
    when(row),
    band,
  ];
  if (events.level_db[row] !== null) parts.push(`${events.level_db[row].toFixed(0)} dB above the floor`);
  if (type !== NOISE) parts.push(`belongs to its type with strength ${events.strength[row]} of 1`);
  document.getElementById("picked").innerHTML = parts.join(", ");
}

function ring(row) {
  ringed = row;
  showEvent(row);
  drawMap(selectedType());
}

// --- The sound type that is looked at -------------------------------------------------------

function selectedType() {
  return types.find((type) => location.hash === `#${anchor(type)}`) ?? null;
}

function followAddress() {
  const selected = selectedType();
  for (const card of document.querySelectorAll(".type")) {
    card.classList.toggle("selected", selected !== null && card.id === anchor(selected));
  }
  for (const chip of document.querySelectorAll("a.chip")) {
    if (chip.hash && chip.hash === location.hash) chip.setAttribute("aria-current", "true");
    else chip.removeAttribute("aria-current");
  }
  document.getElementById("show-all").hidden = selected === null;
  drawMap(selected);
}

if (mapElement) {
  followAddress();
  addEventListener("hashchange", followAddress);
  mapElement.on("plotly_click", ({ points: [point] }) => {
    ring(point.customdata);
    location.hash = anchor(events.cluster[point.customdata]);
  });
  document.getElementById("show-all").addEventListener("click", () => {
    history.replaceState(null, "", location.href.split("#")[0]);
    ringed = null;
    followAddress();
  });
  for (const button of document.querySelectorAll("button.show")) {
    button.addEventListener("click", () => {
      history.replaceState(null, "", `#${button.closest(".type").id}`);
      followAddress();
      const { top, bottom } = mapElement.getBoundingClientRect();
      if (top < 0 || bottom > innerHeight) mapElement.scrollIntoView({ block: "center" });
    });
  }
}

// --- Loss curve -----------------------------------------------------------------------------

function drawCurve() {
  const line = (name, y, shade, dash, width) => ({
    type: "scatter",
    mode: curve.steps.length === 1 ? "markers" : "lines",
    name,
    x: curve.steps,
    y,
    line: { color: colour(shade), dash, width },
    hovertemplate: "%{y:.4f}",
  });
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false };
  Plotly.react("curve", [
    line("each patch's own mean", curve.loss_mean, "--second", "dash", 2),
    line("interpolation from visible neighbours", curve.loss_interpolation, "--third", "dot", 2),
    line("model", curve.loss, "--accent", "solid", 2.5),
  ], {
    margin: { l: 60, r: 16, t: 40, b: 56 },
    hovermode: "x unified",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...axis, title: { text: "step" } },
    yaxis: { ...axis, title: { text: "loss" }, rangemode: "tozero" },
    ...plainLayout(),
  }, { ...PLOT_CONFIG, displayModeBar: false });
}

const hasCurve = document.getElementById("curve") !== null;
if (hasCurve) drawCurve();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (mapElement) drawMap(selectedType());
  if (hasCurve) drawCurve();
});

// --- Playing: see playing.js -------------------------------------------------------------------

addEventListener("played", ({ target }) => {
  const row = events.event_id.indexOf(target.dataset.event);
  if (mapElement && row >= 0) ring(row);
});
