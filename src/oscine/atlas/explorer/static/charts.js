// Small figures: bars through the day or the year, and lines over the layers of the model.

import { el, svg } from "./dom.js";
import { counted } from "./words.js";

const [WIDTH, HEIGHT, FOOT] = [240, 54, 14];

// `ticks`: [position, text] below the bars. The numbers themselves are in the title of each bar and
// in the name of the figure.
export function bars(name, values, titles, ticks, tints = null) {
  const most = Math.max(1e-9, ...values);
  const wide = WIDTH / values.length;
  const peak = values.indexOf(Math.max(...values));
  const total = values.reduce((sum, value) => sum + value, 0);
  const label = total ? `${name}: most at ${titles[peak]} (${counted(values[peak])} of ${counted(total)})` : `${name}: none`;
  return el("figure", { className: "bars" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + FOOT}`, role: "img", "aria-label": label },
      values.map((value, n) => {
        const tall = (value / most) * (HEIGHT - 2);
        return svg("rect", {
          x: n * wide + 0.5, y: HEIGHT - tall, width: wide - 1, height: tall,
          class: "bar", fill: tints?.[n] ?? "currentColor",
        }, svg("title", {}, `${titles[n]}: ${counted(value)}`));
      }),
      svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "grid" }),
      ticks.map(([n, text]) => svg("text", { x: n * wide, y: HEIGHT + 12, class: "tick", "text-anchor": "start" }, text)),
    ),
    el("figcaption", {}, name),
  );
}

const TINTS = ["vermilion", "blue", "green", "purple", "orange", "sky"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];
const [PLOT_WIDTH, PLOT_HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [460, 230, 60, 14, 10, 38];

export const lineSign = (n) =>
  svg("svg", { viewBox: "0 0 34 16", class: `sign-line tint-${TINTS[n % TINTS.length]}`, "aria-hidden": "true" },
    svg("path", { d: "M1,8H33", class: "curve", "stroke-dasharray": DASHES[n % DASHES.length] }));

export const MOST_LINES = TINTS.length;

// `lines`: {name, values, low, high} over `places` (their names), from `least` to `most`.
export function lines(name, across, up, places, series, least, most) {
  const x = (n) => LEFT + ((PLOT_WIDTH - LEFT - RIGHT) * (n + 0.5)) / places.length;
  const y = (value) => TOP + (PLOT_HEIGHT - TOP - BOTTOM) * (1 - (Math.max(least, Math.min(most, value)) - least) / (most - least));
  const ticks = [0, 0.25, 0.5, 0.75, 1].filter((value) => value >= least && value <= most);
  return svg("svg", { viewBox: `0 0 ${PLOT_WIDTH} ${PLOT_HEIGHT}`, role: "img", "aria-label": name },
    ticks.map((value) => [
      svg("line", { x1: LEFT, x2: PLOT_WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, class: "tick", "text-anchor": "end" }, value),
    ]),
    places.map((place, n) => svg("text", { x: x(n), y: PLOT_HEIGHT - BOTTOM + 16, class: "tick", "text-anchor": "middle" }, place)),
    svg("text", { x: (LEFT + PLOT_WIDTH) / 2, y: PLOT_HEIGHT - 4, class: "tick", "text-anchor": "middle" }, across),
    svg("text", { x: 11, y: PLOT_HEIGHT / 2 - 10, class: "tick", "text-anchor": "middle", transform: `rotate(-90 11 ${PLOT_HEIGHT / 2 - 10})` }, up),
    series.map(({ name: title, values, low, high }, n) => {
      // Apart by a little, so that intervals do not hide each other.
      const shift = 3 * (n - (series.length - 1) / 2);
      return svg("g", { class: `tint-${TINTS[n % TINTS.length]}` },
        svg("title", {}, title),
        values.map((_, place) => svg("path", { class: "span", d: `M${x(place) + shift},${y(low[place])}V${y(high[place])}` })),
        svg("path", {
          class: "curve", "stroke-dasharray": DASHES[n % DASHES.length],
          d: values.map((value, place) => `${place ? "L" : "M"}${x(place) + shift},${y(value)}`).join(""),
        }),
        values.map((value, place) => svg("circle", { class: "mark", cx: x(place) + shift, cy: y(value), r: 3 })),
      );
    }),
  );
}
