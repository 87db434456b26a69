// A hundred thousand points that can be moved about, on any machine: each is a small stamp written
// into the pixels, which needs no graphics card. Knows places, categories and colours only.

import { eachFrame, surface } from "./dom.js";

const MOST_ZOOM = 4000;
const MARGIN = 0.05; // Of the picture, left free around all points.
const NEAR_PX = 12; // A pointer this close is at a point.
const TAP_PX = 5; // What moves less is a click.
const PER_CELL = 4; // Points in a cell of the grid, on average.
const LASSO_STEP_PX = 6;

// Which pixels a point of a shape and diameter covers: whole ones, and edges with their share.
function stampOf(shape, size) {
  const reach = Math.ceil(size / 2);
  const distance = {
    circle: (x, y) => Math.hypot(x, y),
    diamond: (x, y) => 0.8 * (Math.abs(x) + Math.abs(y)),
    square: (x, y) => 1.12 * Math.max(Math.abs(x), Math.abs(y)),
  }[shape];
  const stamp = { reach, whole: [], edge: [] };
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const share = Math.min(1, Math.max(0, size / 2 + 0.5 - distance(x, y)));
      if (share >= 0.95) stamp.whole.push([x, y]);
      else if (share > 0.05) stamp.edge.push([x, y, share]);
    }
  }
  return stamp;
}

// Points by the cells of a grid over them: what lies near a place is found without asking all.
class Grid {
  constructor(x, y, bounds) {
    Object.assign(this, { x, y, bounds });
    this.side = Math.min(1024, Math.max(1, Math.ceil(Math.sqrt(x.length / PER_CELL))));
    const cell = new Uint32Array(x.length);
    this.first = new Uint32Array(this.side ** 2 + 1);
    for (let row = 0; row < x.length; row++) {
      cell[row] = this.column(x[row]) + this.side * this.line(y[row]);
      this.first[cell[row] + 1]++;
    }
    for (let n = 0; n < this.side ** 2; n++) this.first[n + 1] += this.first[n];
    const next = this.first.slice();
    this.rows = new Uint32Array(x.length);
    for (let row = 0; row < x.length; row++) this.rows[next[cell[row]]++] = row;
  }

  place = (share) => Math.min(this.side - 1, Math.max(0, Math.floor(share * this.side)));
  column = (x) => this.place((x - this.bounds.left) / (this.bounds.right - this.bounds.left));
  line = (y) => this.place((y - this.bounds.low) / (this.bounds.high - this.bounds.low));

  *within(left, right, low, high) {
    const [from, to] = [this.column(left), this.column(right)];
    for (let line = this.line(low); line <= this.line(high); line++) {
      const stop = this.first[line * this.side + to + 1];
      for (let n = this.first[line * this.side + from]; n < stop; n++) yield this.rows[n];
    }
  }
}

function boundsOf(x, y) {
  const bounds = { left: Infinity, right: -Infinity, low: Infinity, high: -Infinity };
  for (let row = 0; row < x.length; row++) {
    if (Number.isNaN(x[row])) continue; // has no place on this map
    bounds.left = Math.min(bounds.left, x[row]);
    bounds.right = Math.max(bounds.right, x[row]);
    bounds.low = Math.min(bounds.low, y[row]);
    bounds.high = Math.max(bounds.high, y[row]);
  }
  for (const [from, to] of [["left", "right"], ["low", "high"]]) {
    if (!Number.isFinite(bounds[from])) [bounds[from], bounds[to]] = [0, 0];
    if (bounds[from] === bounds[to]) [bounds[from], bounds[to]] = [bounds[from] - 1, bounds[to] + 1];
  }
  return bounds;
}

function isInside(polygon, x, y) {
  let inside = false;
  for (let n = 0, last = polygon.length - 1; n < polygon.length; last = n++) {
    const [[ax, ay], [bx, by]] = [polygon[n], polygon[last]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

// Tells of: onhover(row or null, place), onpick(row), onlasso(polygon), onmoved(view), asks
// roomAbove() for the pixels at the upper edge that something else covers, and lets
// paintOver(context, toScreen) draw above the points.
export class Scatter {
  constructor(host, handlers) {
    Object.assign(this, handlers);
    this.host = host;
    [this.canvas, this.above] = host.querySelectorAll("canvas");
    this.view = null; // {x, y, zoom}: place in the centre, and 1 where all points fit
    this.isLasso = false;
    this.hovered = null;
    this.redraw = eachFrame(() => this.draw());
    this.repaint = eachFrame(() => this.paint());
    new ResizeObserver(this.redraw).observe(host);
    this.listen();
  }

  // Float32Arrays of one length.
  setPlaces(x, y) {
    Object.assign(this, { x, y, bounds: boundsOf(x, y), hovered: null });
    this.grid = new Grid(x, y, this.bounds);
  }

  // For each point its category; for each category its {colour, size_px, shape, rank, isShown}: what
  // has a higher rank lies above.
  // `shown`: for each point whether it is, besides.
  setLook(categories, looks, paper, shown = null) {
    Object.assign(this, { categories, looks, paper, shown });
    const ranks = [];
    for (let row = 0; row < categories.length; row++) {
      if (this.isShown(row)) (ranks[looks[categories[row]].rank] ??= []).push(row);
    }
    this.order = Uint32Array.from(ranks.flat());
    this.redraw();
  }

  isShown(row) {
    return this.looks[this.categories[row]].isShown && (this.shown === null || this.shown[row] === 1);
  }

  // --- Places and pixels -------------------------------------------------------------------------

  get scale() {
    const { left, right, low, high } = this.bounds;
    const free_px = this.host.clientHeight - this.roomAbove();
    const fit = (1 - 2 * MARGIN) * Math.min(this.host.clientWidth / (right - left), free_px / (high - low));
    return fit * (this.view?.zoom ?? 1);
  }

  get middle() {
    const { left, right, low, high } = this.bounds;
    return this.view ?? { x: (left + right) / 2, y: (low + high) / 2, zoom: 1 };
  }

  // Where on the screen the place in the middle is drawn.
  get centre() {
    return [this.host.clientWidth / 2, (this.roomAbove() + this.host.clientHeight) / 2];
  }

  toScreen = (x, y) => {
    const [px, py] = this.centre;
    return [px + (x - this.middle.x) * this.scale, py - (y - this.middle.y) * this.scale];
  };

  toPlace = (px, py) => {
    const [cx, cy] = this.centre;
    return [this.middle.x + (px - cx) / this.scale, this.middle.y - (py - cy) / this.scale];
  };

  moveTo(view) {
    this.view = view;
    this.redraw();
  }

  moved(view) {
    this.moveTo(view);
    this.hover(null);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.onmoved(this.view), 250);
  }

  pan(dx, dy) {
    const { x, y, zoom } = this.middle;
    this.moved({ x: x - dx / this.scale, y: y + dy / this.scale, zoom });
  }

  // What lies under (px, py) stays there.
  zoomBy(factor, px = this.centre[0], py = this.centre[1]) {
    const zoom = Math.min(MOST_ZOOM, Math.max(0.5, this.middle.zoom * factor));
    const [x, y] = this.toPlace(px, py);
    const ratio = this.middle.zoom / zoom;
    const { x: mx, y: my } = this.middle;
    this.moved({ x: x + (mx - x) * ratio, y: y + (my - y) * ratio, zoom });
  }

  reset() {
    this.moved(null);
  }

  // Moves no more than it must for a point to be seen.
  show(row) {
    const [px, py] = this.toScreen(this.x[row], this.y[row]);
    const { clientWidth: width, clientHeight: height } = this.host;
    if (px < 0 || py < 0 || px > width || py > height) {
      this.moved({ x: this.x[row], y: this.y[row], zoom: this.middle.zoom });
    }
  }

  // --- Drawing -----------------------------------------------------------------------------------

  draw() {
    if (!this.order || !this.host.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(this.host.clientWidth * ratio);
    const height = Math.round(this.host.clientHeight * ratio);
    const stamps = this.looks.map((look) => stampOf(look.shape, look.size_px * ratio));
    const edge = 1 + Math.max(0, ...stamps.map((stamp) => stamp.reach));
    const wide = width + 2 * edge; // Points at the edges are drawn whole, and cut afterwards.
    if (this.image?.width !== wide || this.image.height !== height + 2 * edge) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.image = this.canvas.getContext("2d").createImageData(wide, height + 2 * edge);
    }
    const bytes = this.image.data;
    const pixels = new Uint32Array(bytes.buffer);
    const packed = ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red;
    pixels.fill(packed(this.paper));

    const colours = this.looks.map((look) => look.colour);
    const words = colours.map(packed);
    const whole = stamps.map((stamp) => Int32Array.from(stamp.whole, ([x, y]) => y * wide + x));
    const edges = stamps.map((stamp) => Int32Array.from(stamp.edge, ([x, y]) => y * wide + x));
    const shares = stamps.map((stamp) => Float64Array.from(stamp.edge, ([, , share]) => share));
    const { x, y, categories, order } = this;
    const scale = this.scale * ratio;
    const [left, top] = this.toScreen(0, 0).map((at) => at * ratio + edge);
    for (let n = 0; n < order.length; n++) {
      const row = order[n];
      const px = Math.round(left + x[row] * scale);
      const py = Math.round(top - y[row] * scale);
      // Written so that what is not a number is not drawn either.
      if (!(px >= edge - 1 && py >= edge - 1 && px <= width + edge && py <= height + edge)) continue;
      const at = py * wide + px;
      const category = categories[row];
      const word = words[category];
      for (const offset of whole[category]) pixels[at + offset] = word;
      const colour = colours[category];
      const offsets = edges[category];
      for (let k = 0; k < offsets.length; k++) {
        const share = shares[category][k];
        const byte = 4 * (at + offsets[k]);
        for (let channel = 0; channel < 3; channel++) {
          bytes[byte + channel] += (colour[channel] - bytes[byte + channel]) * share;
        }
      }
    }
    this.canvas.getContext("2d").putImageData(this.image, -edge, -edge);
    this.paint();
  }

  paint() {
    const { context } = surface(this.above);
    this.paintOver(context, this.toScreen);
    if (this.lasso?.length > 1) {
      context.beginPath();
      this.lasso.forEach(([px, py]) => context.lineTo(px, py));
      context.stroke();
    }
  }

  // --- Finding -----------------------------------------------------------------------------------

  // The shown point nearest to a place on the screen, or null.
  at(px, py) {
    if (!this.grid) return null;
    const [x, y] = this.toPlace(px, py);
    const reach = NEAR_PX / this.scale;
    let [nearest, least] = [null, reach ** 2];
    for (const row of this.grid.within(x - reach, x + reach, y - reach, y + reach)) {
      const distance = (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
      if (distance <= least && this.isShown(row)) [nearest, least] = [row, distance];
    }
    return nearest;
  }

  // Rows of the shown points within a polygon of places.
  inside(polygon) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const box = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    return [...this.grid.within(...box)].filter((row) => this.isShown(row) && isInside(polygon, this.x[row], this.y[row]));
  }

  // The corners of what is seen, as a polygon of places.
  seen() {
    const { clientWidth: width, clientHeight: height } = this.host;
    return [[0, 0], [width, 0], [width, height], [0, height]].map(([px, py]) => this.toPlace(px, py));
  }

  // The shown point that comes next in a direction (dx, dy) on the screen.
  beside(row, dx, dy) {
    let [next, least] = [null, Infinity];
    for (const other of this.order) {
      const along = (this.x[other] - this.x[row]) * dx - (this.y[other] - this.y[row]) * dy;
      const across = Math.abs((this.x[other] - this.x[row]) * dy + (this.y[other] - this.y[row]) * dx);
      if (along > 0 && across <= along && along + 2 * across < least) [next, least] = [other, along + 2 * across];
    }
    return next;
  }

  hover(row, place) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.onhover(row, place);
    this.repaint();
  }

  // --- Pointers ----------------------------------------------------------------------------------

  listen() {
    const held = new Map(); // pointers that are down: id -> place
    let start = null; // where the first went down
    let apart = null; // of two pointers
    const place = ({ clientX, clientY }) => {
      const { left, top } = this.host.getBoundingClientRect();
      return [clientX - left, clientY - top];
    };
    const { host } = this;
    host.addEventListener("pointerdown", (pressed) => {
      if (pressed.button !== 0 || pressed.target.closest("button")) return;
      host.setPointerCapture(pressed.pointerId);
      this.hover(null);
      held.set(pressed.pointerId, place(pressed));
      if (held.size === 1) start = place(pressed);
      if (this.lasso === undefined && held.size === 1 && (this.isLasso || pressed.shiftKey)) this.lasso = [start];
      if (held.size === 2) [apart, this.lasso] = [null, undefined];
    });
    host.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (!held.has(event.pointerId)) {
        if (event.pointerType !== "touch") this.hover(this.at(...at), at);
        return;
      }
      const before = held.get(event.pointerId);
      held.set(event.pointerId, at);
      if (held.size === 2) {
        const [one, two] = [...held.values()];
        const now = Math.hypot(one[0] - two[0], one[1] - two[1]);
        if (apart) this.zoomBy(now / apart, (one[0] + two[0]) / 2, (one[1] + two[1]) / 2);
        apart = now;
      } else if (this.lasso) {
        const last = this.lasso.at(-1);
        if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= LASSO_STEP_PX) this.lasso.push(at);
        this.repaint();
      } else if (Math.hypot(at[0] - start[0], at[1] - start[1]) > TAP_PX || this.isDragging) {
        this.isDragging = true;
        this.pan(at[0] - before[0], at[1] - before[1]);
      }
    });
    const release = (event) => {
      if (!held.delete(event.pointerId) || held.size) return;
      const { lasso, isDragging } = this;
      [this.lasso, this.isDragging, apart] = [undefined, false, null];
      if (event.type === "pointercancel") return this.repaint();
      if (lasso?.length > 2) this.onlasso(lasso.map(([px, py]) => this.toPlace(px, py)));
      else if (!isDragging) {
        const row = this.at(...place(event));
        if (row !== null) this.onpick(row);
      }
      this.repaint();
    };
    host.addEventListener("pointerup", release);
    host.addEventListener("pointercancel", release);
    host.addEventListener("pointerleave", () => this.hover(null));
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 20 : 1;
      this.zoomBy(Math.exp(-0.0015 * lines * event.deltaY), ...place(event));
    }, { passive: false });
  }
}
