// Calls as small spectrograms that are played with a click, and what plays in them.

import { NOT_GROUPED, describePoint, eventOf, rowOfEvent, stripOf, typeName, points } from "./atlas.js";
import { el, say } from "./dom.js";
import { play, playing, stop } from "./player.js";
import { event as chosen, go } from "./state.js";

const [LEAST_S, MOST_S] = [0.1, 0.75]; // Heard and seen before and after a call.

// The stretch of a recording in which a call is shown and heard.
export function contextOf({ start_s, stop_s, recording }) {
  const margin = Math.min(MOST_S, Math.max(LEAST_S, 1.5 * (stop_s - start_s)));
  return [Math.max(0, start_s - margin), Math.min(recording.duration_s, stop_s + margin)];
}

// Plays the chosen call within its context, and tells whether it is still the chosen one once it is
// known. `then` is called when it was heard to the end.
export async function playEvent(number, then = null) {
  const known = await eventOf(number);
  if (chosen() !== number) return false;
  playStretch(known, ...contextOf(known), then);
  return true;
}

export function playStretch(known, from_s, to_s, then = null) {
  play(known.recording, from_s, to_s, then, known.event);
}

// A call is chosen: it is shown, and heard. Chosen again while it plays, it falls silent.
export function choose(number) {
  if (playing()?.event === number) return stop();
  if (chosen() !== number) go({ event: number });
  say(said(number));
  playEvent(number).catch(() => {}); // The panel says why.
}

// What is known of a call without asking, in words.
function said(number) {
  const row = rowOfEvent(number);
  if (row === undefined) return `Call ${number}`;
  const type = points.type[row];
  return `Call ${number}, ${type === NOT_GROUPED ? "not grouped" : typeName(type)}, ${describePoint(row)}`;
}

export function strip(number, height = 64) {
  return el("button", {
    type: "button", className: "strip", title: said(number), ariaLabel: `Play: ${said(number)}`,
    data: { event: number }, onclick: () => choose(number),
  },
    el("img", { src: stripOf(number), alt: "", height, loading: "lazy", decoding: "async" }),
    el("span", { className: "sign" }),
    el("span", { className: "progress" }),
  );
}

function each(number, change) {
  for (const button of document.querySelectorAll(`.strip[data-event="${number}"]`)) change(button);
}
addEventListener("playing", ({ detail }) => each(detail.event, (button) => button.classList.add("playing")));
addEventListener("silent", ({ detail }) => each(detail.event, (button) => button.classList.remove("playing")));
addEventListener("position", ({ detail: { event, at_s, start_s, stop_s } }) => {
  const share = (at_s - start_s) / (stop_s - start_s);
  each(event, (button) => button.style.setProperty("--share", share));
});
