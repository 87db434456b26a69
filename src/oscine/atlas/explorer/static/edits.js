// What people say about sound types: names, merging, splitting, and taking that back. Each is kept
// with who said it and when; who that is is asked once and remembered by the browser.

import { atlas, reload, typeOf, typeTitle } from "./atlas.js";
import { button, byId, complain, el, hint, into, prose, put, tell } from "./dom.js";
import { get, post } from "./server.js";
import { count, madeText } from "./words.js";

const WHO = "oscine-who";
const LONGEST = 80;
const SLOW_MS = 800;
const unkept = new Map(); // Names that were typed and could not be kept, by grouping and number.

function who(name) {
  try {
    if (name) localStorage.setItem(WHO, name);
    return localStorage.getItem(WHO) ?? "";
  } catch {
    return name ?? ""; // Storage may be forbidden; then it is asked each time.
  }
}

// Asks in a dialog; gives what was written, by name of the field, or null.
function ask(title, fields, words, yes) {
  const dialog = byId("dialog");
  const inputs = Object.entries(fields).map(([name, { label, value, isNeeded = true }]) =>
    el("label", { className: "entry" }, label, el("input", { name, value, required: isNeeded, pattern: isNeeded ? ".*\\S.*" : null, maxLength: LONGEST, autocomplete: "off" })));
  return new Promise((resolve) => {
    const form = el("form", { method: "dialog", onsubmit: () => resolve(Object.fromEntries(new FormData(form))) },
      el("h2", { id: "dialog-heading" }, title),
      words, inputs,
      el("div", { className: "controls" },
        el("button", { className: "button main", value: "yes" }, yes),
        button("Cancel", () => dialog.close())));
    put(dialog, form);
    dialog.onclose = () => resolve(null);
    dialog.showModal();
    form.querySelector("input")?.select();
  });
}

const whoField = () => (who() ? {} : { who: { label: "Who are you? Kept with what you change.", value: "" } });

// Tells whether the server took it.
async function change(path, body, canUndo = true) {
  const waiting = setTimeout(() => tellDone("This takes a moment. If another run is at work in the workspace, this is waiting for it.", null), SLOW_MS);
  try {
    const { words, edit } = await post(path, body);
    if (edit !== null) await reload(); // It may be that nothing was to be done.
    tellDone(prose(words), canUndo ? edit : null);
    return true;
  } catch (error) {
    byId("done").hidden = true;
    // Others may have changed them meanwhile.
    const isNew = [409, 422].includes(error.status) && (await reload().then(() => body.grouping !== atlas.grouping, () => false));
    complain(`${error.message}${isNew ? " This page shows what there is now." : ""}`);
    return false;
  } finally {
    clearTimeout(waiting);
  }
}

function tellDone(words, edit) {
  byId("trouble").hidden = true;
  tell(words, " ", edit === null ? null : button("Undo", () => undo(edit), { className: "link" }));
}

export async function askName(number) {
  const type = typeOf(number);
  if (!type || !atlas.has.writing) return;
  const { grouping } = atlas; // The number is of this one.
  const key = `${grouping} ${number}`;
  const given = await ask(
    type.name ? `Rename ${typeTitle(number)}` : `Name type ${number}`,
    { name: { label: "Name", value: unkept.get(key) ?? type.name ?? "", isNeeded: false }, ...whoField() },
    hint("Say what it sounds like, such as “loud double caw”. A sound type is an acoustic grouping: what it means, the sound alone does not tell. An empty name takes the name away."),
    "Keep the name",
  );
  if (given) {
    const name = given.name.trim();
    const isKept = await change(`/api/types/${number}/name`, { grouping, name, who: who(given.who) });
    if (isKept) unkept.delete(key);
    else unkept.set(key, name);
  }
}

async function agree(title, words, yes, path, body) {
  const { grouping } = atlas;
  const given = await ask(title, whoField(), hint(words), yes);
  if (given) await change(path, { grouping, ...body, who: who(given.who) });
}

export const askMerge = (types) =>
  agree(`Make one of ${count(types.length, "sound type")}?`,
    `${types.map(typeTitle).join(", ")} become one sound type. This can be undone.`,
    "Merge them", "/api/types/merge", { types });

export const askSplit = (number) =>
  agree(`Split ${typeTitle(number)}?`,
    "Its calls are parted into those that lie closest together. Whether that makes sense, you will hear. This can be undone.",
    "Split it", `/api/types/${number}/split`, {});

async function undo(edit) {
  const { grouping } = atlas;
  byId("done").hidden = true;
  const { who: given } = who() ? { who: undefined } : ((await ask("Undo the last change?", whoField(), null, "Undo")) ?? { who: null });
  if (given === null) return;
  await change("/api/undo", { grouping, edit, who: who(given) }, false);
}

export function drawHistory(host) {
  return into(host, get("/api/history"), ({ history }) => {
    const last = history.find((entry) => entry.types.length); // Of those that count; the last comes first.
    put(host,
      last ? el("div", { className: "controls" },
        button("Undo the last change", () => undo(last.id)),
        hint(prose(last.words), ` By ${last.who || "somebody"}.`)) : null,
      history.length === 0
        ? hint("Nothing was named, merged or split yet.")
        : el("ul", { className: "history" }, history.map(({ words, who: by, made_ms, is_undone, types }) => {
            const now = is_undone ? ", taken back" : types.length ? "" : ", rests: it fits no sound type now";
            return el("li", { className: is_undone ? "undone" : "" }, words, " ", el("small", {}, `${by || "somebody"}, ${madeText(made_ms)}${now}`));
          })),
    );
  });
}

