// Colours of spectrograms and of points. Categories and hours are told apart in every common kind
// of colour vision by lightness or by the blue-yellow axis, or by shape and number besides.

const hex = (text) => text.match(/\w\w/g).map((pair) => parseInt(pair, 16));
export const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
export const rgb = hex;

// Colours between stops, from 0 to 1.
function ramp(stops) {
  const colours = stops.split(" ").map(hex);
  return (at) => {
    const place = Math.min(Math.max(at, 0), 1) * (colours.length - 1);
    const [left, part] = [Math.floor(place), place % 1];
    const [from, to] = [colours[left], colours[Math.min(left + 1, colours.length - 1)]];
    return from.map((value, channel) => Math.round(value + part * (to[channel] - value)));
  };
}

// magma and viridis of matplotlib, by Nathaniel Smith, Stefan van der Walt and Eric Firing (CC0).
export const magma = ramp(
  "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
);
const viridis = ramp("440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725");

// From little to much: much stands out from the paper.
export const amount = (share) => viridis(isDark() ? 0.12 + 0.88 * share : 0.88 * (1 - share) + 0.02);

// A circle through the day: midnight dark, noon light, morning golden, evening blue.
export const HOURS =
  "894752 8f4a41 965231 9d5e22 a36d16 a77f19 a9912c a7a446 a1b462 98c27f 8ccc9b 7fd1b4 72d0ca 68cbda 64c1e5 64b3e8 68a2e5 6d90dc 727ecd 766ebb 795fa6 7c548f 804c7a 844765"
    .split(" ").map(hex);

// Those of Okabe and Ito, without black; then the atlas's twenty.
const OKABE_ITO = "0072b2 e69f00 009e73 cc79a7 56b4e9 d55e00 f0e442".split(" ").map(hex);
const TWENTY =
  "377ec1 ff8509 b60254 25d367 ee7ef6 277e09 80bbd3 8c39bc 9b6f52 e85883 9e9f13 2fa188 9e71fd e09aaf 72577f d63907 a879aa 2b7068 3b51d3 05a92e"
    .split(" ").map(hex);
export const SHAPES = ["circle", "diamond", "square"];
export const category = (n, of) =>
  of <= OKABE_ITO.length ? OKABE_ITO[n] : TWENTY[n % TWENTY.length];
export const shape = (n) => SHAPES[Math.floor(n / TWENTY.length) % SHAPES.length];

// --- Light and dark -------------------------------------------------------------------------------

const KEY = "oscine-theme";
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

const theme = () => document.documentElement.dataset.theme;
export const isDark = () => (theme() ? theme() === "dark" : darkSystem.matches);

// A colour of the style as [red, green, blue].
export function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
}

export function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  try {
    if (name) localStorage.setItem(KEY, name);
    else document.documentElement.dataset.theme = localStorage.getItem(KEY) ?? "";
  } catch {
    // Storage may be forbidden; then the theme lasts as long as the page.
  }
  dispatchEvent(new Event("recoloured"));
}
darkSystem.addEventListener("change", () => dispatchEvent(new Event("recoloured")));
