// Numbers and times in words, as in the reports of the atlas.

const [SHORT_S, LOW_HZ] = [0.2, 1000]; // Shorter ones are said in milliseconds, lower ones in hertz.
const number = new Intl.NumberFormat("en-GB");

export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS = 86_400_000;

export const counted = (n) => number.format(n);
export const count = (n, noun) => `${counted(n)} ${noun}${n === 1 ? "" : "s"}`;

export const duration = (seconds) =>
  seconds < SHORT_S ? `${(1000 * seconds).toFixed(0)} ms` : `${seconds.toFixed(2)} s`;

export function longDuration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${counted(Math.round(seconds / 360) / 10)} h`;
}

export function band(low, high) {
  return high < LOW_HZ
    ? `${low.toFixed(0)}–${high.toFixed(0)} Hz`
    : `${(low / 1000).toFixed(1)}–${(high / 1000).toFixed(1)} kHz`;
}

// A time within a recording: m:ss.ss or h:mm:ss.ss.
export function clock(seconds, digits = 2) {
  const parts = 10 ** digits;
  const rounded = Math.round(seconds * parts);
  const hours = Math.floor(rounded / (3600 * parts));
  const minutes = Math.floor(rounded / (60 * parts)) % 60;
  const rest = ((rounded % (60 * parts)) / parts).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function zone(utcOffsetMin) {
  if (utcOffsetMin === null) return "UTC";
  if (utcOffsetMin === 0) return "UTC+0";
  const [hours, minutes] = [Math.floor(Math.abs(utcOffsetMin) / 60), Math.abs(utcOffsetMin) % 60];
  return `UTC${utcOffsetMin < 0 ? "−" : "+"}${hours}${minutes ? `:${String(minutes).padStart(2, "0")}` : ""}`;
}

// By the clocks there, with the zone said.
export function when(startMs, utcOffsetMin) {
  if (startMs === null) return "time not known";
  const local = new Date(startMs + (utcOffsetMin ?? 0) * 60_000).toISOString();
  return `${local.slice(0, 10)} ${local.slice(11, 19)} (${zone(utcOffsetMin)})`;
}

// When somebody changed something, by the clock of the browser.
export const madeText = (madeMs) =>
  madeMs === null ? "at a time that was not kept" : new Date(madeMs).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

// Local days are counted since 1970.
export const dayText = (day) => new Date(day * DAY_MS).toISOString().slice(0, 10);

export const fileName = (path) => path.split("/").at(-1);

// What a likeness is worth, in words.
export function percentileWords(percentile) {
  const above = 1 - percentile;
  const percent = (100 * percentile).toFixed(above < 0.001 ? 2 : above < 0.01 ? 1 : 0);
  if (percentile < 0.5) return `no more alike than most unrelated pairs (above ${percent} %)`;
  return `more alike than ${Math.min(percent, 99.99)} % of unrelated pairs`;
}

export function hourText(hour) {
  const minutes = Math.floor(hour * 60 + 1e-4); // Hours come rounded, some of them down.
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}
