// Sound types: a card each, with what is typical of them, what chance picks, when and where they
// are heard, and what people call them.

import { atlas, missingWords, ofGrouping, typeName, typeSwatch } from "./atlas.js";
import { bars } from "./charts.js";
import { HOURS, css } from "./colours.js";
import { button, byId, el, hint, into, put } from "./dom.js";
import { askMerge, askName, askSplit, drawHistory } from "./edits.js";
import { get } from "./server.js";
import { go, onChange, state } from "./state.js";
import { strip } from "./strips.js";
import { MONTHS, count, counted, hourText, madeText, when } from "./words.js";

const picked = new Set(); // Types that are to become one.

function draw() {
  picked.clear();
  const host = byId("cards");
  const cards = atlas.types.map(card);
  put(host, cards.length ? cards : hint(missingWords() ?? "No sound types were found. There may be too few calls, or none that are alike; oscine cluster has settings for small archives."));
  drawPicked();
  const isGrouped = atlas.missing.length === 0; // Else nothing was edited, and the server says that it cannot be.
  byId("history-part").hidden = !isGrouped;
  if (isGrouped) drawHistory(byId("history"));
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fill(target);
    }
  }, { rootMargin: "400px" });
  for (const each of cards) seen.observe(each);
}

function card(type) {
  const { number, name, size, recordings, look } = type;
  const box = el("input", {
    type: "checkbox", ariaLabel: `Choose ${typeName(number)} for merging`,
    onchange: ({ target }) => {
      picked[target.checked ? "add" : "delete"](number);
      drawPicked();
    },
  });
  return el("article", { className: "type", id: `type-${number}`, data: { type: number }, ariaLabel: typeName(number), tabIndex: -1 },
    el("header", {},
      typeSwatch(number),
      el("h3", {}, typeName(number), name ? el("small", {}, ` type ${number}`) : null),
      el("p", {}, [count(size, "call"), count(recordings, "recording"), look && `median ${look}`].filter(Boolean).join(" · ")),
      el("span", { className: "controls" },
        atlas.has.writing ? button(name ? "Rename" : "Name it", () => askName(number), { className: "button main", ariaLabel: `${name ? "Rename" : "Name"} ${typeName(number)}` }) : null,
        button("Show on map", () => go({ view: "map", colour: "type", only: number, hidden: null }), { ariaLabel: `Show ${typeName(number)} on the map` }),
        atlas.has.writing ? button("Split", () => askSplit(number), { ariaLabel: `Split ${typeName(number)}` }) : null,
        atlas.has.writing ? el("label", { className: "tick" }, box, "merge") : null)),
    el("div", { className: "inside" }, hint("Loading…")),
  );
}

// A type that is no longer there is one of another grouping.
const typeCard = (number, seed) =>
  ofGrouping(() => get(`/api/types/${number}`, { seed }).catch((error) => {
    if (error.status === 404) return { grouping: null };
    throw error;
  }));

function fill(article) {
  const number = Number(article.dataset.type);
  const host = article.querySelector(".inside");
  into(host, typeCard(number, 0), (type) => {
    const random = el("ul", { className: "strips" });
    let seed = 0;
    const redraw = (events) => random.replaceChildren(...events.map((event) => el("li", {}, strip(event))));
    redraw(type.random);
    const again = button("Ten others", () => into(random, typeCard(number, ++seed), (other) => redraw(other.random)), { className: "link", ariaLabel: `Ten other calls of ${typeName(number)}` });
    host.append(
      el("h4", {}, "Most typical"),
      el("ul", { className: "strips" }, type.typical.map((event) => el("li", {}, strip(event)))),
      el("h4", {}, "Picked by chance ", type.size > type.random.length ? again : null),
      random,
      el("div", { className: "facts" },
        el("div", { className: "sentences" }, sentences(type).map((text) => el("p", {}, text))),
        atlas.has.times && type.hours_of_day?.some(Boolean)
          ? [bars("Hour of day", type.hours_of_day, type.hours_of_day.map((_, hour) => `${hourText(hour)} to ${hourText(hour + 1)}`), [[0, "0"], [6, "6"], [12, "12"], [18, "18 h"]], HOURS.map(css)),
            bars("Month", type.months, MONTHS, [[0, "J"], [3, "A"], [6, "J"], [9, "O"]])]
          : null),
    );
  });
}

function sentences({ sites, strength_median, stability, first_ms, last_ms, names }) {
  const places = Object.entries(sites ?? {}).filter(([site]) => site).sort(([, one], [, other]) => other - one);
  return [
    places.length ? `Heard at ${places.slice(0, 6).map(([site, n]) => `${site} (${counted(n)})`).join(", ")}${places.length > 6 ? ` and ${count(places.length - 6, "other site")}` : ""}.` : "",
    first_ms !== null && first_ms !== undefined ? `First heard ${when(first_ms, null)}, last ${when(last_ms, null)}.` : "",
    strength_median === null || strength_median === undefined ? "" : `Half of its calls belong to it with a strength of at least ${strength_median.toFixed(2)} of 1.`,
    stability === null || stability === undefined ? "" : `Stability ${stability.toFixed(2)} of 1: how much of it is found again without a third of the recordings.${stability < 0.5 ? " That is little: it may rest on few recordings, or on chance." : ""}`,
    ...(names ?? []).map(({ name, who, made_ms }) => `${name ? `Called “${name}”` : "Name taken away"} by ${who || "somebody"}, ${madeText(made_ms)}.`),
  ].filter(Boolean);
}

function drawPicked() {
  const bar = byId("picked");
  bar.hidden = picked.size === 0;
  bar.replaceChildren(
    el("span", {}, picked.size === 1 ? `${typeName([...picked][0])}: tick others that are the same sound` : [...picked].map(typeName).join(", ")),
    button(`Merge ${picked.size}`, () => askMerge([...picked]), { className: "button main", disabled: picked.size < 2 }),
    button("Let go", draw),
  );
}

export function startTypes() {
  let isDrawn = false;
  addEventListener("regrouped", () => {
    isDrawn = false;
    if (state().view !== "types") return;
    const worked = document.activeElement?.closest(".type")?.id;
    show();
    byId(worked)?.focus();
  });
  function show() {
    if (!isDrawn) draw();
    isDrawn = true;
  }
  onChange((now, changed) => {
    if (now.view !== "types") return;
    show();
    if (changed.has("type") || (changed.has("view") && now.type)) {
      const article = byId(`type-${now.type}`);
      article?.scrollIntoView({ block: "start" });
      article?.focus({ preventScroll: true });
    }
    for (const each of document.querySelectorAll(".type")) each.classList.toggle("selected", each.dataset.type === now.type);
  });
}
