// One sound at a time. Whoever shows where it is listens for "playing", "position" and "silent",
// whose detail is the span {recording, start_s, stop_s, event} and, for a position, at_s in the
// recording.

import { byId, complain, el, say } from "./dom.js";
import { address } from "./server.js";
import { go, onChange, state } from "./state.js";

const SPEEDS = [
  { speed: 1, said: "1×", name: "as it was" },
  { speed: 0.5, said: "½", name: "half speed" },
  { speed: 0.25, said: "¼", name: "a quarter of the speed" },
  { speed: 0.1, said: "⅒", name: "a tenth of the speed" },
];

const audio = byId("audio");
let span = null; // what plays: {recording, start_s, stop_s, speed, event, then, again}

const speedNow = () => SPEEDS.find(({ speed }) => String(speed) === state().speed)?.speed ?? 1;

export const playing = () => span; // or null

const tell = (name, detail = {}) =>
  dispatchEvent(new CustomEvent(name, { detail: { ...span, ...detail } }));

// `isHeard`: to its end.
export function stop(isHeard = false) {
  if (!span) return;
  tell("silent", { isHeard });
  span = null;
  audio.pause();
}

// Plays seconds of a recording, as many as the server gives at once; `then` is called when they were
// heard to the end.
export function play(recording, start_s, stop_s, then = null, event = null) {
  stop();
  const { id, sample_rate_hz: rate, n_samples, longest_s } = recording;
  const start = Math.max(0, Math.round(start_s * rate));
  const end = Math.min(Math.round(stop_s * rate), start + Math.floor(longest_s * rate), n_samples);
  if (end <= start) return;
  const speed = speedNow();
  const again = () => play(recording, start_s, stop_s, then, event);
  span = { recording: id, start_s: start / rate, stop_s: end / rate, speed, event, then, again };
  audio.src = address(`/api/recordings/${id}/audio`, { start_sample: start, stop_sample: end, speed });
  audio.currentTime = 0;
  const mine = span;
  audio.play().catch((error) => {
    if (span !== mine || error.name === "AbortError") return; // Another one plays since.
    stop();
    whyNot(audio.src, error);
  });
  tell("playing");
  follow();
}

// --- Speed -----------------------------------------------------------------------------------------

function changeSpeed(speed) {
  go({ speed: String(speed) }, { replace: true });
  say(`Speed: ${SPEEDS.find((each) => each.speed === speed).name}`);
  span?.again();
}

export function slower() {
  const at = SPEEDS.findIndex(({ speed }) => speed === speedNow());
  changeSpeed(SPEEDS[(at + 1) % SPEEDS.length].speed);
}

// `name` tells the choice from others on the page.
export function speedChoice(name) {
  return el("fieldset", { className: "speeds" },
    el("legend", {}, "Speed"),
    SPEEDS.map(({ speed, said, name: words }) =>
      el("label", { title: words },
        el("input", { type: "radio", name, value: speed, checked: speed === speedNow(), ariaLabel: words, onchange: () => changeSpeed(speed) }),
        el("span", { ariaHidden: "true" }, said))),
  );
}

onChange((_, changed) => {
  if (!changed.has("speed")) return;
  for (const radio of document.querySelectorAll(".speeds input")) radio.checked = Number(radio.value) === speedNow();
});

// --- What the sound does ---------------------------------------------------------------------------

async function whyNot(source, error) {
  const answer = await fetch(source, { headers: { Range: "bytes=0-0" } }).catch(() => null);
  const said = answer && !answer.ok ? (await answer.json().catch(() => ({}))).error : null;
  complain(said ?? (error.name === "NotAllowedError"
    ? "The browser wants a click before it plays sounds."
    : "This sound cannot be played."));
}

let following = 0;
function follow() {
  cancelAnimationFrame(following); // of the sound that played before
  if (!span) return;
  tell("position", { at_s: Math.min(span.stop_s, span.start_s + audio.currentTime * span.speed) });
  following = requestAnimationFrame(follow);
}

audio.addEventListener("ended", () => {
  if (!span) return;
  const { then } = span;
  stop(true);
  then?.();
});
audio.addEventListener("playing", () => (byId("trouble").hidden = true));
