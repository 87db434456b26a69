// What was heard joined with what was seen: what can be said, what cannot, and the pairs.

import { typeSwatch } from "./atlas.js";
import { add, byId, el, hint, into, prose, svg } from "./dom.js";
import { get } from "./server.js";
import { onChange, state } from "./state.js";
import { count, counted } from "./words.js";

const [SCALE_WIDTH, MOST_TIMES] = [180, 16]; // From 1/16 to 16 times as often.

const list = (sentences) => el("ul", { className: "sentences" }, sentences.map((each) => el("li", {}, typeof each === "string" ? each : each.sentence)));

function draw(host, told) {
  if (!told.available) {
    host.append(hint("A log of what was seen, joined with the calls, is shown here. ", prose(told.why)));
    return;
  }
  const { verdict, findings, limits, pairs, observed, sessions, watched, untested, methods, names, is_stale } = told;
  const tested = pairs.filter(({ test }) => test !== "not tested");
  const nothingFound = tested.length ? "No sound type went with a behaviour more, or less, than chance would have it."
    : `Nothing, as nothing could be tested${limits.length ? "; why is said under “What cannot be said”" : ""}.`;
  add(host,
    is_stale ? el("p", { className: "trouble" }, "The sound types have changed since; oscine join renews this.") : null,
    el("p", { className: "verdict" }, verdict),
    hint(watched ? `${count(observed, "call")} while somebody watched, in ${count(sessions, "session")} of ${watched} together.`
      : "Nobody watched while something was recorded, as far as the logs say."),
    el("div", { className: "sides" },
      el("section", {}, el("h3", {}, "What can be said"), findings.length ? list(findings) : hint(nothingFound)),
      el("section", {}, el("h3", {}, "What cannot be said"), limits.length ? list(limits) : hint("Nothing stands in the way."))),
    tested.length ? el("section", { className: "part" },
      el("h3", {}, "Sound types and behaviours"),
      hint("How many times as often a sound was heard while a behaviour went on as when it did not; the line is the 95 % interval. Filled: stands out after all pairs were counted."),
      table(tested, names ?? {}, is_stale),
      untested ? hint(`${count(pairs.length - tested.length, "pair")} could not be tested: ${untested}.`) : null) : null,
    methods ? el("details", {}, el("summary", {}, "Methods, for a paper"), el("p", { className: "methods" }, methods)) : null,
  );
}

// `names` are those of the sound types that were joined. Where those have changed since, a number may
// be that of another type now, so it has no sign of today's and leads to none.
function table(pairs, names, isStale) {
  const typeWords = (number) => names[number] || `Type ${number}`;
  const type = (number) => isStale ? typeWords(number)
    : [typeSwatch(number), " ", el("a", { href: `#view=types&type=${number}` }, typeWords(number))];
  const isFound = ({ is_found }) => is_found;
  const ordered = [...pairs].sort((one, other) => (one.q ?? 2) - (other.q ?? 2) || (one.p ?? 2) - (other.p ?? 2));
  return el("div", { className: "table", tabIndex: 0, role: "region", ariaLabel: "Pairs of sound type and behaviour" }, el("table", { className: "numbers" },
    el("thead", {}, el("tr", {}, ["sound type", "behaviour", "calls", "together", "by chance", "times as often", "", "q"].map((text) => el("th", { scope: "col" }, text || el("span", { className: "unseen" }, "interval"))))),
    el("tbody", {}, ordered.map((pair) => el("tr", { className: isFound(pair) ? "found-pair" : "" },
      el("th", { scope: "row" }, type(pair.sound_type)),
      el("td", {}, pair.behaviour),
      el("td", { className: "n" }, counted(pair.n_calls)),
      el("td", { className: "n" }, counted(pair.n_together)),
      el("td", { className: "n" }, pair.expected.toFixed(1)),
      el("td", { className: "n" }, pair.rate_ratio === null ? "–" : pair.rate_ratio.toFixed(2)),
      el("td", {}, interval(pair, isFound(pair))),
      el("td", { className: "n" }, pair.q === null ? "–" : pair.q < 0.001 ? "<0.001" : pair.q.toFixed(3)))))));
}

function interval({ rate_ratio, low, high }, isFilled) {
  const x = (ratio) => (SCALE_WIDTH * (1 + Math.max(-1, Math.min(1, Math.log(ratio) / Math.log(MOST_TIMES))))) / 2;
  const known = rate_ratio !== null && low !== null;
  return svg("svg", { viewBox: `-6 0 ${SCALE_WIDTH + 12} 16`, class: "interval", "aria-hidden": "true" },
    svg("path", { class: "reference", d: `M${SCALE_WIDTH / 2},0V16` }),
    known ? svg("path", { class: "span", d: `M${x(low || 1e-9)},8H${x(high ?? Infinity)}` }) : null,
    known ? svg("circle", { class: isFilled ? "mark" : "mark hollow", cx: x(rate_ratio || 1e-9), cy: 8, r: 4 }) : null);
}

export function startBehaviour() {
  let isDrawn = false;
  const show = () => {
    isDrawn = true;
    into(byId("behaviour"), get("/api/behaviour"), (told) => draw(byId("behaviour"), told));
  };
  addEventListener("regrouped", () => {
    isDrawn = false;
    if (state().view === "behaviour") show();
  });
  onChange(({ view }) => view === "behaviour" && !isDrawn && show());
}
