// Where in the model things are known: the figure of the evaluation, and maps from other layers.

import { atlas } from "./atlas.js";
import { MOST_LINES, lineSign, lines } from "./charts.js";
import { add, button, byId, el, hint, into, prose } from "./dom.js";
import { get } from "./server.js";
import { go, onChange } from "./state.js";
import { counted } from "./words.js";

function draw(host, { available, why, layers, scores, verdict, problems, maps, is_stale }) {
  if (!available) host.append(hint(prose(why)));
  else {
    const [claim, ...families] = verdict.split(/(?<=\.) (?=\w+:)/);
    add(host,
      is_stale ? el("p", { className: "trouble" }, "The recordings or the model have changed since; oscine evaluate renews this.") : null,
      hint("The claim in quotes is an expectation, often held of such models and made before anything was measured. Each layer of this model was asked, and what was measured says:"),
      el("p", { className: "verdict" }, claim),
      el("ul", { className: "sentences" }, families.map((sentence) => el("li", {}, prose(sentence)))),
      hint("How well each layer tells what was measured in the sounds (R²), and what people called them (balanced accuracy), on recordings that were kept apart. Layer 0 is the sound as it goes in. Bars: 90 % interval."),
      el("div", { className: "figures" }, panels(layers, scores)),
      table(layers, scores),
      problems?.length ? el("details", {}, el("summary", {}, `${problems.length} could not be asked`), el("ul", {}, problems.map((text) => el("li", {}, text)))) : null,
    );
  }
  host.append(el("section", { className: "part" },
    el("h3", {}, "The map by another readout"),
    maps?.length && atlas.has.model
      ? [hint("The map is drawn anew of a sample of the calls, which takes a moment: as one layer alone hears them; or by what tells individuals apart, which is what stays of a call when its background is exchanged, less what its sound type has in common."),
        el("div", { className: "controls" }, maps.map(({ readout, name }) => button(name, () => go({ view: "map", readout, at: null, lasso: null }))))]
      : hint("The model is not here, so the map cannot be drawn anew.")));
}

function panels(layers, scores) {
  return [...new Set(scores.map(({ family }) => family))].flatMap((family) => {
    const members = scores.filter((each) => each.family === family);
    const parts = [];
    for (let start = 0; start < members.length; start += MOST_LINES) {
      const part = members.slice(start, start + MOST_LINES);
      const measures = [...new Set(part.map(({ measure }) => measure))].join(" / ");
      const least = Math.max(-0.5, Math.min(0, ...part.flatMap(({ low }) => low)));
      parts.push(el("figure", {},
        el("figcaption", {}, family),
        el("ul", { className: "signs" }, part.map(({ name }, n) => el("li", {}, lineSign(n), name))),
        lines(`${family}: ${measures} of each layer`, "layer", measures, layers.map(String), part.map((each) => ({ ...each, values: each.scores })), least, 1)));
    }
    return parts;
  });
}

function table(layers, scores) {
  const score = (value) => (Number.isFinite(value) ? value.toFixed(2) : "–");
  return el("details", {},
    el("summary", {}, "The numbers"),
    el("div", { className: "table", tabIndex: 0, role: "region", ariaLabel: "Scores of each layer" }, el("table", { className: "numbers" },
      el("thead", {}, el("tr", {}, ["target", "measure", "items", "chance", ...layers].map((text) => el("th", { scope: "col" }, String(text))))),
      el("tbody", {}, scores.map((each) => el("tr", {},
        el("th", { scope: "row" }, each.name), el("td", {}, each.measure), el("td", { className: "n" }, counted(each.n_items)), el("td", { className: "n" }, score(each.chance)),
        each.scores.map((value) => el("td", { className: "n" }, score(value)))))))));
}

export function startLayers() {
  let isDrawn = false;
  onChange(({ view }) => {
    if (view !== "layers" || isDrawn) return;
    isDrawn = true;
    into(byId("layers"), get("/api/layers"), (answer) => draw(byId("layers"), answer));
  });
}
