// What is looked at lives in the address, so that a view can be sent to a colleague and the
// browser's back button works. Everything that is shown follows from it.

const STANDARD = { view: "map", colour: "type", speed: "1" };
const followers = [];
let current = read();

function read() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { ...STANDARD, ...given };
}

// Changes what is looked at; a value of null takes it away. With `replace`, the back button does
// not return to what was before: for zooming, colours and the like.
export function go(changes, { replace = false } = {}) {
  // A picture is magnified for one call; the next is seen in its own context.
  const isOther = "event" in changes && String(changes.event) !== current.event;
  const next = { ...current, ...(isOther ? { zoom: null } : {}), ...changes };
  const kept = Object.entries(next).filter(
    ([name, value]) => value !== null && value !== "" && value !== STANDARD[name],
  );
  const said = kept.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  const hash = `#${said.join("&")}`;
  if (hash === (location.hash || "#")) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  follow();
}

function follow() {
  const before = current;
  current = read();
  const changed = new Set(
    [...Object.keys(before), ...Object.keys(current)].filter((name) => before[name] !== current[name]),
  );
  if (changed.size) for (const follower of followers) follower(current, changed);
}

addEventListener("popstate", follow);

export const state = () => current;
export const event = () => (current.event === undefined ? null : Number(current.event));

// A list of numbers in the address, such as `like=1,2`.
export const numbers = (name) =>
  (current[name] ?? "").split(",").filter(Boolean).map(Number).filter(Number.isFinite);

// Calls follower(state, changed names) now, with all names, and after every change.
export function onChange(follower) {
  followers.push(follower);
  follower(current, new Set(Object.keys(current)));
}
