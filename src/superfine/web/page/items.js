// The pictures of this tab: from a file to the server, and back as a result.

import { ask, bytes, element, keep, kept, say, size, time } from "./words.js";

const AT_ONCE = 3; // pictures of this tab that are on their way; the others wait in the browser
const POLL = 700; // milliseconds
const OVER = ["done", "failed", "cancelled"];

export class Items extends EventTarget {
  // Events: "select" (an item was chosen), "change" (an item changed), "tile" (a part of its result came).
  constructor(list) {
    super();
    this.list = list;
    this.all = [];
    this.selected = null;
    this.limits = { upload: Infinity };
    setInterval(() => this.poll(), POLL);
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("beforeunload", (event) => {
      if (this.all.some((item) => item.state === "local" || item.state === "sending")) event.preventDefault();
    });
  }

  // Take files: each has a name, which may hold folders.
  add(files, parameters) {
    for (const { file, name } of files) this.insert({ file, name, parameters, state: "local", share: 0 });
    if (!this.selected && this.all.length) this.select(this.all[0]);
    this.pump();
  }

  insert(item) {
    item.row = this.makeRow(item);
    this.all.push(item);
    this.list.append(item.row);
    this.changed(item);
    return item;
  }

  // Take up what this tab had sent before it was loaded again.
  async restore() {
    for (const id of kept("jobs", [])) {
      const job = await ask(`/v1/jobs/${id}`).catch(() => null); // its time may be over
      if (job) this.insert({ name: job.name, job, state: job.state, share: job.share, problem: job.problem?.detail, parameters: {} });
    }
    if (!this.selected && this.all.length) this.select(this.all[0]);
  }

  // Send what waits, a few at once.
  pump() {
    const going = this.all.filter((item) => ["sending", "waiting", "running"].includes(item.state)).length;
    const next = this.all.filter((item) => item.state === "local" && !(item.later > Date.now()));
    next.slice(0, Math.max(0, AT_ONCE - going)).forEach((item) => this.send(item));
  }

  send(item) {
    if (item.file.size > this.limits.upload) {
      const text = `${item.file.size.toLocaleString("en")} bytes came, and ${this.limits.upload.toLocaleString("en")} bytes is this server's limit: send a smaller file`;
      this.fail(item, text);
      return;
    }
    const form = new FormData();
    for (const [name, value] of Object.entries(item.parameters)) form.append(name, value);
    form.append("name", item.name);
    form.append("file", item.file, "file");
    const request = new XMLHttpRequest();
    item.request = request;
    this.set(item, { state: "sending", share: 0 });
    request.upload.onprogress = (event) => this.set(item, { share: event.loaded / event.total });
    request.onload = () => {
      item.request = null;
      const found = (() => { try { return JSON.parse(request.responseText); } catch { return null; } })();
      if (request.status === 202) this.update(item, found);
      else if ([429, 503].includes(request.status)) {
        // The server is busy: it says when to come again.
        const seconds = Number(request.getResponseHeader("Retry-After")) || 5;
        item.later = Date.now() + seconds * 1000;
        this.set(item, { state: "local", note: found?.detail ?? "the server is busy" });
        setTimeout(() => this.pump(), seconds * 1000 + 50);
      } else this.fail(item, found?.detail ?? `the server said ${request.status}`);
      this.remember();
      this.pump();
      this.follow();
    };
    request.onerror = () => this.fail(item, "the connection to the server broke off: try again");
    request.open("POST", "/v1/jobs");
    request.setRequestHeader("Accept", "application/json");
    request.send(form);
  }

  fail(item, text) {
    item.request = null;
    this.set(item, { state: "failed", problem: text });
    say(`${item.name}: ${text}`);
    this.pump();
  }

  // Take in what the server says of a job.
  update(item, job) {
    const before = item.state;
    item.job = job;
    this.set(item, { state: job.state, share: job.share, problem: job.problem?.detail });
    if (job.state === before) return;
    if (job.state === "done") say(`${job.name} is done: ${size(job.result)} pixels`);
    if (job.state === "failed") say(`${job.name}: ${job.problem.detail}`);
    if (OVER.includes(job.state)) this.pump();
  }

  set(item, values) {
    Object.assign(item, values);
    this.changed(item);
  }

  // Ask for all jobs that run, but for the one whose events come by themselves.
  async poll() {
    if (this.polling) return;
    this.polling = true;
    for (const item of this.all) {
      if (!["waiting", "running"].includes(item.state) || item === this.followed) continue;
      await this.refresh(item);
    }
    this.polling = false;
  }

  async refresh(item) {
    try {
      this.update(item, await ask(`/v1/jobs/${item.job.id}`));
    } catch (error) {
      if (error.status === 404) this.fail(item, error.message);
    }
  }

  // Events of the selected picture alone: a browser has few connections to one server, for all its tabs.
  follow() {
    const item = this.selected;
    const wanted = item && ["waiting", "running"].includes(item.state) && item.job && !document.hidden ? item : null;
    if (wanted === this.followed) return;
    this.source?.close();
    this.followed = wanted;
    if (!wanted) return;
    const source = new EventSource(`/v1/jobs/${wanted.job.id}/events`);
    this.source = source;
    const end = () => {
      source.close();
      if (this.source === source) this.followed = null;
    };
    source.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      if (OVER.includes(job.state)) end();
      this.update(wanted, job);
    });
    source.addEventListener("tile", (event) => {
      this.dispatchEvent(new CustomEvent("tile", { detail: { item: wanted, tile: JSON.parse(event.data) } }));
    });
    source.onerror = end; // the others are asked for; so is this one from now on
  }

  select(item) {
    this.selected = item;
    for (const other of this.all) other.row.querySelector(".pick").setAttribute("aria-pressed", other === item);
    this.follow();
    this.dispatchEvent(new CustomEvent("select", { detail: item }));
  }

  async remove(item) {
    item.request?.abort();
    const at = this.all.indexOf(item);
    this.all.splice(at, 1);
    item.row.remove();
    const ids = [item.job?.id, ...[...(item.companions?.values() ?? [])].map((each) => each.job?.id)];
    if (this.selected === item) this.select(this.all[Math.min(at, this.all.length - 1)] ?? null);
    this.remember();
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
    for (const id of ids.filter(Boolean)) await ask(`/v1/jobs/${id}`, { method: "DELETE" }).catch(() => null);
    this.pump();
  }

  async cancel(item) {
    item.request?.abort();
    item.request = null;
    if (item.job) await ask(`/v1/jobs/${item.job.id}`, { method: "DELETE" }).catch(() => null);
    this.set(item, { state: "cancelled" });
    say(`${item.name} is cancelled`);
    this.remember();
    this.follow();
    this.pump();
  }

  // Do a picture once more with other parameters, from the file or from the server's copy.
  again(item, parameters) {
    if (item.file) {
      this.add([{ file: item.file, name: item.name }], parameters);
      this.select(this.all.at(-1));
    } else this.copy(item, parameters).then((job) => {
      this.select(this.insert({ name: item.name, job, parameters, state: job.state, share: 0 }));
      this.remember();
    }).catch((error) => this.set(item, { problem: error.message }));
  }

  // Have the server take an earlier job's source.
  copy(item, parameters) {
    return ask(`/v1/jobs?${new URLSearchParams({ ...parameters, again: item.job.id })}`, { method: "POST" });
  }

  // The same picture by another network, for comparison.
  async compare(item, model) {
    item.companions ??= new Map();
    if (item.companions.has(model)) return item.companions.get(model);
    const companion = { job: null, problem: null };
    item.companions.set(model, companion);
    try {
      companion.job = await this.copy(item, { ...sizeOf(item), model, format: "png" });
      this.remember();
      while (!OVER.includes(companion.job.state)) {
        await new Promise((resolve) => setTimeout(resolve, POLL));
        companion.job = await ask(`/v1/jobs/${companion.job.id}`);
        this.dispatchEvent(new CustomEvent("change", { detail: item }));
      }
      companion.problem = companion.job.problem?.detail;
    } catch (error) {
      companion.problem = error.message;
    }
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
    return companion;
  }

  remember() {
    keep("jobs", this.all.filter((item) => item.job && item.state !== "cancelled").map((item) => item.job.id));
  }

  makeRow(item) {
    const pick = element("button", { type: "button", class: "pick", "aria-pressed": "false", onclick: () => this.select(item) },
      element("span", { class: "thumb" }), element("span", { class: "text" },
        element("span", { class: "name" }, item.name), element("span", { class: "state" })));
    return element("li", {}, pick, element("span", { class: "actions" }), element("progress", { max: 1, "aria-label": `Progress of ${item.name}` }));
  }

  changed(item) {
    const { row, job } = item;
    row.className = item.state;
    row.querySelector(".state").textContent = stateOf(item);
    const bar = row.querySelector("progress");
    bar.hidden = OVER.includes(item.state) || item.state === "local";
    bar.value = item.share ?? 0;
    const actions = row.querySelector(".actions");
    if (actions.dataset.state !== item.state) {
      actions.dataset.state = item.state;
      actions.replaceChildren(...this.actionsOf(item, job));
    }
    this.thumb(item);
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  actionsOf(item, job) {
    const button = (label, text, onclick) =>
      element("button", { type: "button", class: "quiet", "aria-label": `${label} ${item.name}`, title: label, onclick }, text);
    if (!OVER.includes(item.state)) return [button("Cancel", "✕", () => this.cancel(item))];
    const remove = button("Remove", "✕", () => this.remove(item));
    if (item.state !== "done") return [remove];
    const link = { href: `/v1/jobs/${job.id}/result`, class: "button quiet", download: "", "aria-label": `Download ${job.result_name}`, title: "Download" };
    return [element("a", link, "⤓"), remove];
  }

  thumb(item) {
    const place = item.row.querySelector(".thumb");
    const wanted = item.state === "done" && item.job.kind === "picture" && !item.file ? `/v1/jobs/${item.job.id}/view?of=source`
      : item.file?.type.startsWith("image/") ? (item.url ??= URL.createObjectURL(item.file)) : null;
    if (!wanted || place.dataset.from) return;
    place.dataset.from = wanted;
    const image = element("img", { src: wanted, alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => image.remove();
    place.replaceChildren(image);
  }
}

function sizeOf(item) {
  return { size: `${item.job.result.width}x${item.job.result.height}`, fit: item.parameters.fit === "cover" ? "cover" : "stretch" };
}

function stateOf({ state, share, job, problem, file, note }) {
  const percent = `${Math.floor((share ?? 0) * 100)} %`;
  switch (state) {
    case "local": return note ? `waits: ${note}` : `waits, ${bytes(file.size)}`;
    case "sending": return `being sent, ${percent}`;
    case "waiting": return job.ahead ? `in the queue, ${job.ahead} before it` : "next in the queue";
    case "running": return job.seconds_left === null ? `${size(job.result)}, begun` : `${percent}, ${time(job.seconds_left)} left`;
    case "done": return problem ?? `${size(job.source)} → ${size(job.result)}, ${bytes(job.bytes)}`;
    case "cancelled": return "cancelled";
    default: return problem;
  }
}
