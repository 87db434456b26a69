// Making elements. Text always goes in as text: nothing that comes from data is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Properties whose names begin with "on" are listeners; "data" and "aria" are objects of attributes;
// what the element does not have as a property becomes an attribute.
function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "aria") {
      for (const [key, said] of Object.entries(value)) {
        if (said !== null) element.setAttribute(`aria-${key}`, said);
      }
    } else if (name === "tint") element.style.setProperty("--tint", value);
    else if (name in element && element.namespaceURI !== SVG) element[name] = value;
    else element.setAttribute(name, value);
  }
  return add(element, ...children);
}

// Children may be lists; null, undefined and false are left out.
export function add(host, ...children) {
  host.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return host;
}

export function put(host, ...children) {
  host.replaceChildren();
  return add(host, ...children);
}

export const el = (tag, properties = {}, ...children) =>
  fill(document.createElement(tag), properties, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", className: "button", onclick, ...properties }, text);
}

// A swatch has the shape and colour that points of its kind have on the map.
export const swatch = (tint, shape = "circle") =>
  el("i", { className: `swatch ${shape}`, tint, ariaHidden: "true" });

// Read out by screen readers without moving the focus.
export function say(text) {
  byId("said").textContent = text;
}

// Says what was done, to all, for a while.
let fading = null;
export function tell(...content) {
  put(byId("done"), ...content);
  byId("done").hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => (byId("done").hidden = true), 10_000);
}

export const trouble = (text) => el("p", { className: "trouble", role: "alert" }, prose(text));

// Says what went wrong above everything else, until it is put away.
export function complain(text) {
  const away = button("×", () => (byId("trouble").hidden = true), { className: "close", ariaLabel: "Close" });
  put(byId("trouble"), el("span", {}, prose(text)), away);
  byId("trouble").hidden = false;
}

export function hint(...content) {
  return el("p", { className: "hint" }, ...content);
}

// A sentence of the server as one reads it: what stands in `these` is code.
export function prose(text) {
  const said = text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
  return said.split("`").map((part, n) => (n % 2 ? el("code", {}, part) : part));
}

// What is shown while something loads, and what when it cannot be had. What was asked for before, or
// is not wanted any more when it comes, leaves what is shown as it is.
const awaited = new WeakMap(); // host -> the promise that was made last
export async function into(host, promise, draw, isWanted = () => true) {
  awaited.set(host, promise);
  const isLast = () => awaited.get(host) === promise;
  host.setAttribute("aria-busy", "true");
  try {
    const value = await promise;
    if (!isLast() || !isWanted()) return;
    host.replaceChildren();
    draw(value);
  } catch (error) {
    if (error.name === "AbortError" || !isLast() || !isWanted()) return;
    host.replaceChildren(trouble(error.message));
    if (!error.status) console.error(error); // a fault of the page, not an answer of the server
  } finally {
    if (isLast()) host.removeAttribute("aria-busy");
  }
}

// A drawing surface as sharp as the screen; gives its context with a unit of one CSS pixel.
export function surface(canvas) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height, ratio };
}

// Calls draw at most once a frame, however often it is asked.
export function eachFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
