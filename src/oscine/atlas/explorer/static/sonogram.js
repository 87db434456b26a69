// A spectrogram with its axes, of any stretch of a recording: it can be moved, widened, made
// lighter or darker, and shows calls as boxes, where the sound is, and the waveform below.

import { colour, css, magma } from "./colours.js";
import { eachFrame, el, surface } from "./dom.js";
import { columns } from "./server.js";
import { atlas, typeRgb, NOT_GROUPED } from "./atlas.js";
import { clock, duration } from "./words.js";

const TILE_FRAMES = 512;
const MOST_TILES = 60;
const [LEFT, BOTTOM, TOP] = [40, 20, 6]; // Room for axes, in pixels.
const WAVE_HEIGHT = 44;
const MOST_WAVE_S = 60; // The server gives no more at once.
const TICKS_HZ = [1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power));
const [TICK_HIGH_PX, TICK_WIDE_PX] = [16, 64];
const LOW_HZ = 1000;
const LEAST_FRAMES = 24; // Seen at once.
const [LEAST_SPAN_DB, MOST_SPAN_DB] = [20, 60]; // So that near silence does not look loud, nor sound beside digital silence white.
const TAP_PX = 5;

export class Sonogram {
  // onpick(event id): a box was clicked. onseek(seconds): another place was. onmoved(from_s, to_s).
  constructor({ height = 220, onpick = null, onseek = null, onmoved = null } = {}) {
    Object.assign(this, { onpick, onseek, onmoved });
    this.canvas = el("canvas", { className: "sonogram", role: "img" });
    this.canvas.style.height = `${height}px`;
    this.wave = el("canvas", { className: "wave", ariaHidden: "true" });
    this.wave.style.height = `${WAVE_HEIGHT}px`;
    this.cursor = el("span", { className: "cursor", hidden: true });
    this.element = el("div", { className: "sound-picture" }, this.canvas, this.wave, this.cursor);
    this.redraw = eachFrame(() => this.draw());
    this.contrast = { darker: 0, span: 0 };
    this.boxes = [];
    this.clear();
    new ResizeObserver(this.redraw).observe(this.canvas);
    this.listen();
  }

  clear() {
    this.stopAsking?.abort();
    this.stopAsking = new AbortController();
    this.tiles = new Map(); // "level:number" -> {start_s, stop_s, image} or null while it is asked for
    this.levels = null; // {low_db, step_db, band_hz}
    this.range_db = null;
    this.waveform = null;
  }

  // {recording, duration_s, sample_rate_hz}
  setRecording(recording) {
    if (this.recording?.recording === recording.recording) return;
    this.clear();
    this.recording = recording;
  }

  // Seconds seen; with `band` ({low_hz, high_hz}), only that part of the picture's height.
  setView(from_s, to_s, band = null) {
    const { duration_s } = this.recording;
    const width = Math.min(duration_s, Math.max(to_s - from_s, LEAST_FRAMES * atlas.frame_s));
    this.from_s = Math.min(Math.max(0, from_s), Math.max(0, duration_s - width));
    this.to_s = this.from_s + width;
    if (band !== undefined) this.band = band;
    this.canvas.ariaLabel = `Spectrogram, ${clock(this.from_s)} to ${clock(this.to_s)}`;
    this.fetchTiles();
    this.fetchWave();
    this.redraw();
  }

  setBoxes(boxes, chosen = null) {
    Object.assign(this, { boxes, chosen });
    this.redraw();
  }

  // -1 to 1 each: lighter or darker, and how much of the range of levels is shown.
  setContrast(darker, span) {
    this.contrast = { darker, span };
    for (const tile of this.tiles.values()) if (tile) tile.image = null;
    this.redraw();
  }

  // Moves and widens, as by hand.
  change(from_s, to_s) {
    this.setView(from_s, to_s, this.band);
    this.onmoved?.(this.from_s, this.to_s);
  }

  zoomBy(factor, at_s = (this.from_s + this.to_s) / 2) {
    const width = Math.min(this.recording.duration_s, (this.to_s - this.from_s) / factor);
    const share = (at_s - this.from_s) / (this.to_s - this.from_s);
    this.change(at_s - share * width, at_s + (1 - share) * width);
  }

  pan(share) {
    const shift = share * (this.to_s - this.from_s);
    this.change(this.from_s + shift, this.to_s + shift);
  }

  // --- Levels, as tiles ----------------------------------------------------------------------------

  // A column of a tile covers so many frames that about one falls on each pixel.
  level() {
    const pixels = Math.max(100, this.canvas.clientWidth - LEFT) * Math.min(2, devicePixelRatio || 1);
    const frames = (this.to_s - this.from_s) / atlas.frame_s;
    return Math.max(0, Math.floor(Math.log2(frames / pixels)) + 1);
  }

  fetchTiles() {
    const level = this.level();
    const tile_s = TILE_FRAMES * 2 ** level * atlas.frame_s;
    const last = Math.ceil(this.to_s / tile_s);
    const signal = this.stopAsking.signal;
    for (let number = Math.floor(this.from_s / tile_s); number < last; number++) {
      const key = `${level}:${number}`;
      if (this.tiles.has(key)) continue;
      this.tiles.set(key, null);
      const stretch = {
        start_s: number * tile_s,
        stop_s: Math.min((number + 1) * tile_s, this.recording.duration_s),
        columns: TILE_FRAMES,
      };
      columns(`/api/recordings/${this.recording.recording}/spectrogram`, stretch, signal).then(
        (tile) => {
          this.trouble = null;
          this.levels ??= tile;
          this.tiles.set(key, { ...tile, level_of_tile: level });
          if (!this.range_db) this.range_db = rangeOf(tile);
          this.forget();
          this.redraw();
        },
        (error) => {
          this.tiles.delete(key);
          if (error.name === "AbortError") return;
          this.trouble = error.message;
          this.redraw();
        },
      );
    }
  }

  forget() {
    for (const [key, tile] of this.tiles) {
      if (this.tiles.size <= MOST_TILES) return;
      if (tile && (tile.stop_s < this.from_s || tile.start_s > this.to_s)) this.tiles.delete(key);
    }
  }

  paintTile(tile) {
    const { n_frames, n_bands, low_db, step_db, level } = tile;
    const [black, white] = this.range();
    const table = Array.from({ length: 256 }, (_, code) => {
      const [red, green, blue] = magma((low_db + code * step_db - black) / (white - black));
      return (255 << 24) | (blue << 16) | (green << 8) | red;
    });
    const image = new ImageData(n_frames, n_bands);
    const pixels = new Uint32Array(image.data.buffer);
    for (let frame = 0; frame < n_frames; frame++) {
      for (let band = 0; band < n_bands; band++) {
        pixels[(n_bands - 1 - band) * n_frames + frame] = table[level[frame * n_bands + band]];
      }
    }
    tile.image = el("canvas", { width: n_frames, height: n_bands });
    tile.image.getContext("2d").putImageData(image, 0, 0);
  }

  // Levels drawn black and white, in dB.
  range() {
    const [black, white] = this.range_db;
    const span = (white - black) * 2 ** -this.contrast.span;
    return [black + this.contrast.darker * 30, black + this.contrast.darker * 30 + span];
  }

  // --- Places ----------------------------------------------------------------------------------------

  get plot() {
    const { clientWidth, clientHeight } = this.canvas;
    return { width: clientWidth - LEFT, height: clientHeight - BOTTOM - TOP };
  }

  toX = (at_s) => LEFT + (this.plot.width * (at_s - this.from_s)) / (this.to_s - this.from_s);
  toSeconds = (x) => this.from_s + ((x - LEFT) / this.plot.width) * (this.to_s - this.from_s);

  // A frequency as a share of the bands' height from the bottom; bands are told by their centres.
  share(hz) {
    const { band_hz } = this.levels;
    const n = band_hz.length;
    if (hz <= band_hz[0]) return 0;
    if (hz >= band_hz[n - 1]) return 1;
    const above = band_hz.findIndex((centre) => centre > hz);
    const part = (hz - band_hz[above - 1]) / (band_hz[above] - band_hz[above - 1]);
    return (above - 0.5 + part) / n;
  }

  // The part of the bands' height that is seen.
  shares() {
    if (!this.band) return [0, 1];
    const [low, high] = [this.share(this.band.low_hz), this.share(this.band.high_hz)];
    const margin = 0.15 * (high - low) + 0.04;
    return [Math.max(0, low - margin), Math.min(1, high + margin)];
  }

  toY(hz) {
    const [low, high] = this.shares();
    return TOP + this.plot.height * (1 - (this.share(hz) - low) / (high - low));
  }

  // --- Drawing ---------------------------------------------------------------------------------------

  draw() {
    if (!this.recording || !this.canvas.clientWidth) return;
    const { context } = surface(this.canvas);
    const { width, height } = this.plot;
    context.fillStyle = css(colour("--shade"));
    context.fillRect(LEFT, TOP, width, height);
    context.font = "11px system-ui, sans-serif";
    if (this.levels) this.drawLevels(context);
    else if (this.trouble) {
      context.fillStyle = css(colour("--muted"));
      context.fillText(this.trouble, LEFT + 10, TOP + 22, width - 20);
    }
    this.drawTimes(context);
    this.drawWave();
  }

  drawLevels(context) {
    const { width, height } = this.plot;
    const [low, high] = this.shares();
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, width, height);
    context.clip();
    // What is coarse lies underneath until what is fine has come.
    const tiles = [...this.tiles.values()].filter((tile) => tile?.n_frames && tile.stop_s > this.from_s && tile.start_s < this.to_s);
    tiles.sort((one, other) => other.level_of_tile - one.level_of_tile);
    for (const tile of tiles) {
      if (tile.level_of_tile < this.level()) continue;
      if (!tile.image) this.paintTile(tile);
      const [x, stop] = [this.toX(tile.start_s), this.toX(tile.stop_s)];
      const [y, tall] = [(1 - high) * tile.n_bands, (high - low) * tile.n_bands];
      context.drawImage(tile.image, 0, y, tile.n_frames, tall, x, TOP, stop - x, height);
    }
    this.drawBoxes(context);
    context.restore();
    this.drawFrequencies(context);
  }

  drawBoxes(context) {
    for (const box of this.boxes) {
      if (box.stop_s < this.from_s || box.start_s > this.to_s) continue;
      const x = this.toX(box.start_s);
      const [top, bottom] = [this.toY(box.high_hz), this.toY(box.low_hz)];
      const isChosen = box.event === this.chosen;
      const tint = box.type === NOT_GROUPED ? [200, 205, 207] : typeRgb(box.type);
      const outline = [x, top, Math.max(2, this.toX(box.stop_s) - x), Math.max(2, bottom - top)];
      context.lineWidth = isChosen ? 4 : 3;
      context.strokeStyle = "rgb(0 0 0 / 0.6)";
      context.strokeRect(...outline);
      context.lineWidth = isChosen ? 2.5 : 1.5;
      context.strokeStyle = isChosen ? "#fff" : css(tint);
      context.strokeRect(...outline);
    }
  }

  drawFrequencies(context) {
    const { band_hz } = this.levels;
    const isLow = band_hz[band_hz.length - 1] <= LOW_HZ;
    context.fillStyle = context.strokeStyle = css(colour("--muted"));
    context.textAlign = "right";
    context.textBaseline = "middle";
    let below = Infinity;
    for (const hz of TICKS_HZ) {
      if (hz < band_hz[0] || hz > band_hz[band_hz.length - 1]) continue;
      const y = this.toY(hz);
      if (y < TOP || y > TOP + this.plot.height || below - y < TICK_HIGH_PX) continue;
      context.fillText(isLow ? hz : hz / 1000, LEFT - 7, Math.max(y, TOP + 16));
      context.fillRect(LEFT - 4, y, 4, 1);
      below = y;
    }
    context.fillText(isLow ? "Hz" : "kHz", LEFT - 7, TOP + 4);
  }

  drawTimes(context) {
    const { width, height } = this.plot;
    const room_s = ((this.to_s - this.from_s) * TICK_WIDE_PX) / width;
    const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];
    const step = steps.find((each) => each >= room_s) ?? steps.at(-1);
    const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
    context.fillStyle = css(colour("--muted"));
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (let n = Math.ceil(this.from_s / step - 1e-6); n * step <= this.to_s + 1e-9; n++) {
      const x = this.toX(n * step);
      if (x > LEFT + width - 14) continue; // the unit stands there
      context.fillRect(x, TOP + height, 1, 4);
      const text = this.recording.duration_s >= 120 ? clock(n * step, digits) : (n * step).toFixed(digits);
      context.fillText(text, Math.max(x, LEFT + 8), TOP + height + 15);
    }
    context.textAlign = "right";
    context.fillText(this.recording.duration_s >= 120 ? "m:s" : "s", LEFT + width, TOP + height + 15);
  }

  // --- Waveform --------------------------------------------------------------------------------------

  fetchWave() {
    clearTimeout(this.waiting);
    this.waveform = null;
    if (!this.recording.has_sound || this.to_s - this.from_s > MOST_WAVE_S) return;
    const { signal } = this.stopAsking;
    const mine = (this.waiting = setTimeout(async () => {
      const stretch = { start_s: this.from_s, stop_s: this.to_s, columns: Math.max(50, Math.round(this.plot.width)) };
      try {
        const wave = await columns(`/api/recordings/${this.recording.recording}/waveform`, stretch, signal);
        if (this.waiting !== mine) return; // Another stretch is in sight since.
        this.waveform = wave; // Of as much as there was, which may be less than asked for.
      } catch {
        // Where there is no sound there is none to draw; playing it says why.
      }
      this.redraw();
    }, 120));
  }

  drawWave() {
    const { context, height } = surface(this.wave);
    const middle = height / 2;
    context.fillStyle = css(colour("--line"));
    context.fillRect(LEFT, middle, this.plot.width, 1);
    if (!this.waveform) return;
    const { low, high, start_s, stop_s } = this.waveform;
    const loudest = Math.max(1e-4, ...high.map(Math.abs), ...low.map(Math.abs));
    context.fillStyle = css(colour("--accent"));
    for (let n = 0; n < low.length; n++) {
      const x = this.toX(start_s + ((stop_s - start_s) * n) / low.length);
      const next = this.toX(start_s + ((stop_s - start_s) * (n + 1)) / low.length);
      if (x < LEFT) continue;
      const [top, bottom] = [middle * (1 - high[n] / loudest), middle * (1 - low[n] / loudest)];
      context.fillRect(x, top, Math.max(1, next - x), Math.max(1, bottom - top));
    }
  }

  // --- The cursor, and hands ---------------------------------------------------------------------------

  // Where the sound is, or null.
  showCursor(at_s) {
    this.cursor.hidden = at_s === null || at_s < this.from_s || at_s > this.to_s;
    if (!this.cursor.hidden) this.cursor.style.transform = `translateX(${this.toX(at_s)}px)`;
  }

  boxAt(x, y) {
    const near = 4;
    const hits = this.boxes.filter((box) =>
      x >= this.toX(box.start_s) - near && x <= this.toX(box.stop_s) + near &&
      y >= this.toY(box.high_hz) - near && y <= this.toY(box.low_hz) + near);
    hits.sort((one, other) => one.stop_s - one.start_s - (other.stop_s - other.start_s));
    return hits[0] ?? null;
  }

  listen() {
    const held = new Map();
    let [start, apart, isDragging] = [null, null, false];
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, event.offsetX);
      if (held.size === 1) [start, isDragging] = [event.offsetX, false];
      apart = null;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held.has(event.pointerId)) {
        canvas.title = this.titleAt(event.offsetX, event.offsetY);
        return;
      }
      const before = held.get(event.pointerId);
      held.set(event.pointerId, event.offsetX);
      if (held.size === 2) {
        const [one, two] = [...held.values()];
        if (apart) this.zoomBy(Math.abs(one - two) / apart, this.toSeconds((one + two) / 2));
        [apart, isDragging] = [Math.max(1, Math.abs(one - two)), true];
      } else if (isDragging || Math.abs(event.offsetX - start) > TAP_PX) {
        isDragging = true;
        this.pan((before - event.offsetX) / this.plot.width);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      held.delete(event.pointerId);
      if (isDragging || held.size || event.offsetX < LEFT) return;
      const box = this.levels && this.boxAt(event.offsetX, event.offsetY);
      if (box && this.onpick) this.onpick(box.event);
      else this.onseek?.(this.toSeconds(event.offsetX));
    });
    canvas.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) this.zoomBy(Math.exp(-0.01 * event.deltaY), this.toSeconds(event.offsetX));
      else this.pan(event.deltaX / this.plot.width);
    }, { passive: false });
  }

  titleAt(x, y) {
    const box = this.levels && this.boxAt(x, y);
    return box ? `Call ${box.event}, ${duration(box.stop_s - box.start_s)}` : "";
  }
}

// The median is black and the 99.8th percentile white, as in the pictures of the atlas.
export function rangeOf({ level, low_db, step_db }) {
  const counts = new Uint32Array(256);
  for (const code of level) counts[code]++;
  const quantile = (share) => {
    let seen = 0;
    for (let code = 0; code < 256; code++) {
      seen += counts[code];
      if (seen >= share * level.length) return low_db + code * step_db;
    }
    return low_db + 255 * step_db;
  };
  const [middle, loud] = [quantile(0.5), quantile(0.998)];
  return [Math.max(middle, loud - MOST_SPAN_DB), Math.max(loud, middle + LEAST_SPAN_DB)];
}
