// What the points of the map can be coloured by. Each colouring gives a look: the category of each
// point, and of each category its name, colour, count and, where it matters, shape, size and rank
// (what has a higher one lies above).

import { NOT_GROUPED, atlas, ofPoints, points, typeName, typeRgb, typeShape, typeTitle } from "./atlas.js";
import { asked } from "./call.js";
import { HOURS, amount, category, colour } from "./colours.js";
import { get } from "./server.js";
import { counted, hourText } from "./words.js";

const MOST_CATEGORIES = 20; // The others share a colour.
const BINS = 8; // Of what is a matter of degree.
const LEAST_ALIKE = 0.2; // At which the scale of likeness ends.
// The address names categories by their ids: of a name that people gave, which may be anything, an id
// made of it, which has no comma and does not begin with a colon.
export const UNKNOWN = ":none";
const OTHERS = ":others";
const idOf = encodeURIComponent;

function counts(of, n) {
  const total = new Uint32Array(n);
  for (const each of of) total[each]++;
  return total;
}

export function byType() {
  const order = new Map(atlas.types.map(({ number }, n) => [number, n + 1]));
  const of = Uint16Array.from(points.type, (type) => order.get(type) ?? 0);
  const noise = { id: String(NOT_GROUPED), name: "not grouped", colour: colour("--noise"), rank: 0, size: 0.8, count: atlas.not_grouped };
  const types = atlas.types.map(({ number, size }) => ({
    id: String(number), name: typeName(number), title: typeTitle(number), colour: typeRgb(number), shape: typeShape(number), count: size,
  }));
  return { of, legend: [noise, ...types] };
}

// Categories by size: those beyond the most frequent share a colour. `values` below 0 are unknown.
// A value may be that of another name when labels or sites came since, so they are not in the address.
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
      { id: UNKNOWN, name: unknown, colour: colour("--noise"), rank: 0, size: 0.8, count: total[0] },
      { id: OTHERS, name: `${counted(known.length - own.length)} others`, colour: colour("--noise"), rank: 0, count: total[1] },
      ...own.map((value, n) => ({ id: idOf(nameOf(value)), name: nameOf(value), colour: category(n, own.length), count: total[n + 2] })),
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
      { id: UNKNOWN, name: "not known", colour: colour("--noise"), rank: 0, size: 0.8, count: total[0] },
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
      { id: UNKNOWN, name: "time not known", colour: colour("--noise"), rank: 0, size: 0.8, count: total[0] },
      ...HOURS.map((tint, hour) => ({ id: String(hour), name: `${hourText(hour)} to ${hourText(hour + 1)}`, colour: tint, count: total[hour + 1] })),
    ],
  };
}

export function quantile(values, share) {
  const sorted = Float32Array.from(values).filter((value) => !Number.isNaN(value)).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

// Rounded ends between which most values lie.
function ends(values) {
  const [least, most] = [Math.floor(quantile(values, 0.01)), Math.ceil(quantile(values, 0.99))];
  return [least, Math.max(most, least + 1)];
}

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
  site: () => (atlas.has.sites ? byCategory(points.site, (n) => points.sites[n] || "no name", "site not known")
    : "No site is known. Say where sites are in your folders when you index them: `oscine index --site-from`"),
  hour: () => (atlas.has.times ? byHour()
    : "No recording says when it was made, or in which time zone. `oscine index --timezone` tells the zone"),
  level: () => byAmount(points.level, ...ends(points.level), (from, to) => `${from.toFixed(0)} to ${to.toFixed(0)} dB`),
  likeness: async () => {
    const question = asked();
    if (!question) return "Choose a call that others are to be like first: then the others are coloured by how alike they are to it.";
    const { cosine } = await ofPoints("/api/points/likeness", question);
    // To where but the most alike lie beyond: in many archives no two calls are very alike.
    const most = Math.max(LEAST_ALIKE, Math.ceil(10 * quantile(cosine, 0.998)) / 10);
    return byAmount(cosine, 0, most, (from, to) =>
      (from <= 0 ? `below ${to.toFixed(2)}` : to > most - 1e-6 ? `${from.toFixed(2)} and more` : `${from.toFixed(2)} to ${to.toFixed(2)}`));
  },
  label: async (name) => {
    if (!atlas.labels.some((each) => each.name === name)) return "There is no such label.";
    const { value, values } = await ofPoints(`/api/points/label/${encodeURIComponent(name)}`);
    return byCategory(value, (n) => values[n], "no label");
  },
};

// The look of a colouring such as `hour` or `label:species`, or a sentence why there is none.
export async function lookOf(colouring) {
  const [kind, ...name] = colouring.split(":");
  try {
    return await (COLOURINGS[kind] ?? byType)(name.join(":"));
  } catch (error) {
    return error.message;
  }
}
