// Asking the server. When it is gone, that is said and asked again; when it is busy, waited for.

import { byId } from "./dom.js";

const AGAIN_MS = 2000; // Between two tries while the server is gone.
const MOST_WAITS = 60; // For a busy server.

class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

async function request(path, options = {}) {
  for (let waits = 0; ; ) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      byId("gone").hidden = false;
      // What changes something is not sent twice: it may have arrived.
      if (options.method === "POST") throw new ServerError("The server does not answer; nothing is known of what was asked.", 0);
      await pause(AGAIN_MS, options.signal);
      continue;
    }
    byId("gone").hidden = true;
    if (response.status === 401) location.reload(); // The server asks for its token.
    if ([429, 503].includes(response.status) && response.headers.has("Retry-After") && waits++ < MOST_WAITS) {
      await pause(1000 * Math.min(10, Number(response.headers.get("Retry-After")) || 1), options.signal);
      continue;
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new ServerError(said.error ?? `The server answers ${response.status}.`, response.status);
    }
    return response;
  }
}

// `parameters` that are null, undefined or empty are left out.
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return query ? `${path}?${query}` : path;
}

export async function get(path, parameters, signal) {
  return (await request(address(path, parameters), { signal })).json();
}

const ARRAYS = { u32: Uint32Array, i32: Int32Array, i16: Int16Array, u16: Uint16Array, u8: Uint8Array, f32: Float32Array };

function parseColumns(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const { name, dtype, offset, length: n } of header.columns) {
    header[name] = new ARRAYS[dtype](buffer, 4 + length + offset, n);
  }
  return header;
}

// An answer in columns: its header, with each column as a typed array; or an object that says how far
// it is while it is being made, or why there is none.
export async function columns(path, parameters, signal) {
  const response = await request(address(path, parameters), { signal });
  const isJson = response.headers.get("Content-Type").startsWith("application/json");
  return isJson ? response.json() : parseColumns(await response.arrayBuffer());
}

export async function post(path, body) {
  const headers = { "X-Oscine": "1", "Content-Type": "application/json" };
  if (body instanceof Blob) headers["Content-Type"] = body.type || "application/octet-stream";
  else body = JSON.stringify(body);
  return (await request(path, { method: "POST", headers, body })).json();
}
