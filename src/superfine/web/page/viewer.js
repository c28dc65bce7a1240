// The viewer: before and after under a slider or side by side, moved and enlarged together, with a magnifier.

import { Gestures } from "./gestures.js";
import { element, size, time } from "./words.js";

const MOST_ZOOM = 32; // screen pixels for one of the result
const LENS_ZOOM = 8;
const NAMES = { source: "Original", bicubic: "Bicubic" };

export class Viewer {
  constructor(root, items, parameters) {
    Object.assign(this, { root, items, parameters, models: [], item: null });
    Object.assign(this, { left: "source", mode: "slider", cut: 0.5, lensOn: false, x: 0, y: 0, zoom: 1, fitted: true, panes: [] });
    this.build();
    this.gestures = new Gestures(this);
    new ResizeObserver(() => this.layout()).observe(this.stage);
    items.addEventListener("select", ({ detail }) => this.open(detail));
    items.addEventListener("change", ({ detail }) => { if (detail === this.item) this.show(); });
    items.addEventListener("tile", ({ detail }) => this.drawTile(detail.item, detail.tile));
  }

  build() {
    const button = (text, label, onclick, more = {}) => element("button", { type: "button", "aria-label": label, title: label, onclick, ...more }, text);
    this.leftSelect = element("select", { onchange: () => this.choose(this.leftSelect.value) });
    this.modes = ["slider", "side"].map((mode) => button(mode === "slider" ? "Slider" : "Side by side", mode === "slider" ? "Under a slider" : "Side by side", () => this.setMode(mode)));
    this.percent = element("output", { class: "percent" });
    this.lensButton = button("Lens", "Magnifier", () => this.setLens(!this.lensOn), { "aria-pressed": "false" });
    this.bar = element("div", { class: "bar", role: "toolbar", "aria-label": "View" },
      element("label", { class: "against" }, element("span", {}, "Compare with "), this.leftSelect),
      element("div", { class: "group" }, ...this.modes),
      element("div", { class: "group" },
        button("−", "Smaller", () => this.zoomBy(1 / 1.5)), this.percent, button("+", "Larger", () => this.zoomBy(1.5)),
        button("Fit", "Fit the whole picture", () => this.fit()), button("1:1", "Single pixels", () => this.single())),
      this.lensButton);
    this.handle = element("div", { class: "handle", role: "slider", tabindex: "0", "aria-label": "How much of the left picture is shown", "aria-valuemin": "0", "aria-valuemax": "100" });
    this.lens = element("div", { class: "lens", hidden: true, "aria-hidden": "true" });
    this.pill = element("p", { class: "pill", hidden: true });
    this.grid = element("div", { class: "grid" });
    this.stage = element("div", { class: "stage", role: "group", tabindex: "0", "aria-label": "The pictures. Arrow keys move them, plus and minus zoom, 0 fits, 1 shows single pixels, M magnifies" }, this.grid, this.handle, this.lens, this.pill);
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: true });
    this.facts = element("p", { class: "words" });
    this.download = element("a", { class: "button main", download: "" }, "Download");
    this.again = element("button", { type: "button", onclick: () => this.items.again(this.item, this.parameters()) }, "Make it again with these settings");
    this.foot = element("div", { class: "foot" }, this.facts, element("div", { class: "row" }, this.again, this.download));
    this.root.append(this.bar, this.stage, this.trouble, this.foot);
  }

  open(item) {
    this.item = item;
    this.key = null;
    this.fitted = true;
    this.show();
  }

  // The network that made the result, or is to.
  get network() {
    return this.item.job?.chosen ?? this.item.job?.model ?? "Result";
  }

  // The networks beside it.
  get others() {
    return this.models.map(({ name }) => name).filter((name) => name !== "auto" && name !== this.network);
  }

  // The size of the result, on which all pictures are laid.
  get size() {
    return this.item?.job?.result ?? this.item?.natural ?? { width: 1, height: 1 };
  }

  // Bring everything up to date with the item.
  show() {
    const { item } = this;
    if (!item) return;
    const { job } = item;
    const failed = item.state === "failed" || item.state === "cancelled";
    const video = job?.kind === "video";
    const done = item.state === "done";
    this.trouble.hidden = !failed;
    this.trouble.textContent = failed ? (item.problem ?? "This picture was cancelled.") : "";
    this.stage.hidden = failed;
    this.bar.hidden = failed || video;
    this.download.hidden = !done;
    if (done) this.download.href = `/v1/jobs/${job.id}/result`;
    this.again.hidden = (!job && !item.file) || JSON.stringify(item.parameters) === JSON.stringify(this.parameters());
    this.facts.textContent = done ? factsOf(job) : "";
    this.foot.hidden = !done && (!failed || this.again.hidden);
    this.pill.hidden = done || failed;
    this.pill.textContent = pillOf(item);
    if (done && !video && this.mode === "side") {
      for (const name of this.others) if (!item.companions?.has(name)) this.items.compare(item, name);
    }
    this.fillLeft();
    for (const [at, mode] of ["slider", "side"].entries()) this.modes[at].setAttribute("aria-pressed", this.mode === mode);
    const layers = video || failed ? [] : this.mode === "slider" ? [this.left, "result"] : this.sides();
    const key = JSON.stringify([item.name, job?.id, this.mode, video && done, layers.map((kind) => this.from(kind))]);
    if (key !== this.key) {
      this.key = key;
      this.fillPanes(layers);
      if (video && done) this.grid.replaceChildren(element("video", { controls: true, loop: true, src: `/v1/jobs/${job.id}/result?inline=true`, "aria-label": job.result_name }));
    }
    this.layout();
  }

  sides() {
    const others = this.others.filter((name) => this.item.companions?.get(name)?.job?.state === "done");
    return ["source", ...(this.item.job ? ["bicubic"] : []), ...others, "result"];
  }

  fillLeft() {
    const { job } = this.item;
    const kinds = ["source", ...(job ? ["bicubic"] : [])];
    const others = job?.state === "done" ? this.others : [];
    if (![...kinds, ...others].includes(this.left)) this.left = "source";
    const wanted = [...kinds, ...others].join();
    if (this.leftSelect.dataset.kinds !== wanted) {
      this.leftSelect.dataset.kinds = wanted;
      this.leftSelect.replaceChildren(...[...kinds, ...others].map((kind) => element("option", { value: kind }, this.title(kind))));
    }
    this.leftSelect.value = this.left;
  }

  title(kind) {
    if (kind === "result") kind = this.network;
    return NAMES[kind] ?? this.models.find(({ name }) => name === kind)?.title.split(" (")[0] ?? kind;
  }

  choose(kind) {
    this.left = kind;
    if (!(kind in NAMES)) this.items.compare(this.item, kind);
    this.show();
  }

  setMode(mode) {
    this.mode = mode;
    this.show();
    if (this.fitted) this.fit();
  }

  // Where the pixels of a layer come from: an address, a canvas that is being filled, or nothing yet.
  from(kind) {
    const { item } = this;
    const view = (id, of) => `/v1/jobs/${id}/view?of=${of}`;
    if (kind === "source") return item.url && !item.unseen ? item.url : item.job ? view(item.job.id, "source") : null;
    if (kind === "bicubic") return view(item.job.id, "bicubic");
    if (kind === "result") return item.state === "done" ? view(item.job.id, "result") : "growing";
    const companion = item.companions?.get(kind);
    return companion?.job?.state === "done" ? view(companion.job.id, "result") : null;
  }

  fillPanes(layers) {
    const pane = (kinds, captions) => element("div", { class: "pane" }, ...kinds.map((kind) => this.makeLayer(kind)), ...captions);
    const caption = (kind, side) => element("span", { class: `caption ${side}` }, this.title(kind));
    this.handle.hidden = this.mode !== "slider" || !layers.length;
    this.grid.replaceChildren(); // the canvas of a growing result moves from the old pane to the new one
    this.panes = this.mode === "slider" && layers.length
      ? [pane([layers[1], layers[0]], [caption(layers[0], "west"), caption(layers[1], "east")])]
      : layers.map((kind) => pane([kind], [caption(kind, "west")]));
    this.grid.dataset.count = this.panes.length;
    this.grid.replaceChildren(...this.panes);
    this.lens.replaceChildren(...(layers.length && this.item.state === "done" ? [this.makeLayer("result"), this.makeLayer(this.left)] : []));
  }

  makeLayer(kind) {
    const from = this.from(kind);
    const layer = element("div", { class: "layer", "data-kind": kind });
    if (from === "growing") layer.append(this.growing(this.item));
    else if (from) {
      const item = this.item;
      const image = element("img", { src: from, alt: `${this.title(kind)}: ${item.name}`, draggable: "false", decoding: "async" });
      image.onload = () => {
        layer.classList.add("there");
        if (kind === "source" && !item.natural) item.natural = { width: image.naturalWidth, height: image.naturalHeight };
        if (this.fitted) this.fit();
      };
      image.onerror = () => { // the browser does not know the format: the server's view of it does
        if (kind === "source" && !item.unseen) {
          item.unseen = true;
          this.show();
        } else layer.replaceChildren();
      };
      layer.append(image);
    } else if (!(kind in NAMES)) {
      const companion = this.item.companions?.get(kind);
      layer.append(element("p", { class: "pill" }, companion?.problem ?? `${this.title(kind)} is at work`));
    }
    return layer;
  }

  // The canvas that a result's tiles are drawn on as they come, over the dimmed original.
  growing(item) {
    const { width, height } = this.size;
    const shrink = Math.min(1, 1280 / Math.max(width, height));
    item.canvas ??= element("canvas", { "aria-hidden": "true" });
    const { canvas } = item;
    const wanted = [Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink))];
    if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) {
      [canvas.width, canvas.height] = wanted;
      this.drawBehind(item);
    }
    return canvas;
  }

  drawBehind(item) {
    const from = this.from("source");
    if (!from) return;
    const image = new Image();
    image.onload = () => {
      const context = item.canvas.getContext("2d");
      context.globalCompositeOperation = "destination-over"; // tiles may be there already
      context.filter = "brightness(0.55)";
      context.drawImage(image, 0, 0, item.canvas.width, item.canvas.height);
      context.filter = "none";
      context.globalCompositeOperation = "source-over";
    };
    image.src = from;
  }

  drawTile(item, { left, top, width, height, jpeg }) {
    if (!item.canvas) return;
    const image = new Image();
    image.onload = () => {
      const { canvas } = item;
      const edges = [left * canvas.width, top * canvas.height, (left + width) * canvas.width, (top + height) * canvas.height].map(Math.round);
      canvas.getContext("2d").drawImage(image, edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]);
    };
    image.src = `data:image/jpeg;base64,${jpeg}`;
  }

  // Moving and zooming; x and y are the pixel of the result in the middle, zoom is screen pixels for one of them.

  get box() {
    return (this.panes[0] ?? this.stage).getBoundingClientRect();
  }

  get fitZoom() {
    const { width, height } = this.box;
    return Math.min(width / this.size.width, height / this.size.height, 4) || 1;
  }

  fit() {
    this.fitted = true;
    this.layout();
  }

  single() {
    this.zoomTo(1 / devicePixelRatio);
  }

  zoomBy(factor, at) {
    this.zoomTo(this.zoom * factor, at);
  }

  zoomTo(zoom, at = null) {
    const least = Math.min(this.fitZoom, 1 / devicePixelRatio);
    const next = Math.max(least, Math.min(MOST_ZOOM, zoom));
    if (at) { // the pixel under the pointer stays there
      this.x += at.x / this.zoom - at.x / next;
      this.y += at.y / this.zoom - at.y / next;
    }
    this.zoom = next;
    this.fitted = Math.abs(next / this.fitZoom - 1) < 0.001;
    this.layout();
  }

  moveBy(x, y) {
    this.x -= x / this.zoom;
    this.y -= y / this.zoom;
    this.layout();
  }

  setCut(cut) {
    this.cut = Math.max(0, Math.min(1, cut));
    this.layout();
  }

  setLens(on) {
    this.lensOn = on;
    this.lensAt = { x: 0, y: 0 };
    this.lensButton.setAttribute("aria-pressed", on);
    this.layout();
  }

  layout() {
    if (!this.item || this.root.hidden) return;
    const { width, height } = this.size;
    if (this.fitted) Object.assign(this, { zoom: this.fitZoom, x: width / 2, y: height / 2 });
    this.x = Math.max(0, Math.min(width, this.x));
    this.y = Math.max(0, Math.min(height, this.y));
    this.percent.value = `${Math.round(this.zoom * devicePixelRatio * 100)} %`;
    const sharp = this.zoom * devicePixelRatio >= 0.999;
    for (const pane of this.panes) {
      const box = pane.getBoundingClientRect();
      place(pane, this.zoom, box.width / 2 - this.x * this.zoom, box.height / 2 - this.y * this.zoom, sharp);
      const [, left] = pane.querySelectorAll(".layer");
      if (left) left.style.clipPath = `inset(0 ${(1 - this.cut) * 100}% 0 0)`;
    }
    this.handle.style.left = `${this.cut * 100}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.cut * 100));
    for (const media of this.root.querySelectorAll(".layer > img, .layer > canvas")) {
      media.style.width = `${width}px`;
      media.style.height = `${height}px`;
    }
    this.layoutLens();
  }

  layoutLens() {
    this.lens.hidden = !this.lensOn || !this.lens.childElementCount || this.stage.hidden;
    if (this.lens.hidden) return;
    const { x, y } = this.lensAt;
    const zoom = Math.max(this.zoom, LENS_ZOOM / devicePixelRatio);
    const box = this.box, stage = this.stage.getBoundingClientRect();
    this.lens.style.left = `${box.left - stage.left + box.width / 2 + x}px`;
    this.lens.style.top = `${box.top - stage.top + box.height / 2 + y}px`;
    const middle = this.lens.clientWidth / 2;
    place(this.lens, zoom, middle - (this.x + x / this.zoom) * zoom, middle - (this.y + y / this.zoom) * zoom, true);
    const [, left] = this.lens.querySelectorAll(".layer");
    if (left) left.style.clipPath = "inset(0 50% 0 0)";
  }
}

function place(pane, zoom, left, top, sharp) {
  for (const media of pane.querySelectorAll(".layer > img, .layer > canvas")) {
    media.style.setProperty("--zoom", zoom);
    media.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
    media.classList.toggle("sharp", sharp);
  }
}

function factsOf(job) {
  const parts = [`${size(job.source)} → ${size(job.result)}`];
  if (job.chosen) parts.push(`network chosen for ${job.reason}`);
  if (job.kept.length) parts.push(`kept: ${job.kept.join(", ")}`);
  if (job.converted.length) parts.push(`converted: ${job.converted.join("; ")}`);
  return parts.join(" · ");
}

function pillOf({ state, share, job, note }) {
  if (state === "running") return job.seconds_left === null ? "At work" : `${Math.floor(share * 100)} %, ${time(job.seconds_left)} left`;
  if (state === "sending") return `Being sent, ${Math.floor(share * 100)} %`;
  return state === "waiting" ? (job.ahead ? `In the queue, ${job.ahead} before it` : "Next in the queue") : (note ?? "Waits");
}
