// The page: settings, files that come in by every door, and the viewer.

import { Items } from "./items.js";
import { Viewer } from "./viewer.js";
import { ask, element, keep, kept, say } from "./words.js";

const SUFFIXES = /\.(png|apng|jpe?g|webp|tiff?|bmp|gif|avif|hei[cf]|jxl|p[pgn]m|mp4|m4v|mov|mkv|webm|avi)$/i;
const LOSSY = ["jpg", "webp", "avif"];
const THEMES = { auto: ["Auto", "as the system has them"], light: ["Light", "light"], dark: ["Dark", "dark"] };

const find = (id) => document.getElementById(id);
const form = find("settings");
const items = new Items(find("items"));
const viewer = new Viewer(find("viewer"), items, parameters);

// What the settings say, as parameters of the interface; sizes only where they are not those of the server.
function parameters() {
  const values = Object.fromEntries(new FormData(form));
  const found = { model: values.model };
  if (values.times !== "other") found.scale = values.times;
  else if (values.value.trim()) found[values.kind] = values.value.trim();
  if (values.times === "other" && ["size", "print"].includes(values.kind)) found.fit = values.fit;
  if (values.format) found.format = values.format;
  if (LOSSY.includes(values.format)) found.quality = values.quality;
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
}

function showSettings() {
  const values = Object.fromEntries(new FormData(form));
  find("exact").hidden = values.times !== "other";
  find("fit").hidden = !["size", "print"].includes(form.kind.value);
  form.value.placeholder = form.kind.selectedOptions[0].dataset.like;
  find("quality").hidden = !LOSSY.includes(form.format.value);
  find("quality").querySelector("output").value = form.quality.value;
  keep("settings", values, localStorage);
  viewer.show();
}

async function fillModels() {
  const models = await ask("/v1/models");
  form.model.replaceChildren(...models.map(({ name, title }) => element("option", { value: name }, title.split(" (")[0])));
  viewer.models = models;
}

function restoreSettings() {
  for (const [name, value] of Object.entries(kept("settings", {}, localStorage))) {
    const field = form.elements[name];
    if (field instanceof RadioNodeList || field instanceof HTMLInputElement) field.value = value;
    else if (field && [...field.options].some((option) => option.value === value)) field.value = value;
  }
}

// Files, of a list or of folders in it, as { file, name }.
function take(files) {
  const known = files.filter(({ file, name, alone }) => alone || SUFFIXES.test(name || file.name));
  const left = files.length - known.length;
  if (left) say(`${left} files that are no pictures were left out`);
  known.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  items.add(known, parameters());
}

const ofInput = (input) => [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name, alone: !file.webkitRelativePath }));

async function ofDrop(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  const walk = async (entry, alone) => {
    if (entry instanceof File) found.push({ file: entry, name: entry.name, alone });
    else if (entry?.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, name: entry.fullPath.replace(/^\//, ""), alone });
    } else if (entry?.isDirectory) {
      const reader = entry.createReader();
      for (;;) { // a reader gives a hundred at a time
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        for (const each of some) await walk(each, false);
      }
    }
  };
  for (const entry of entries) await walk(entry, true);
  return found;
}

function openDoors() {
  for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"]]) {
    find(button).addEventListener("click", () => find(input).click());
    find(input).addEventListener("change", () => {
      take(ofInput(find(input)));
      find(input).value = "";
    });
  }
  let inside = 0;
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => { if (carries(event)) find("dropping").hidden = ++inside < 1; });
  addEventListener("dragleave", (event) => { if (carries(event)) find("dropping").hidden = --inside < 1; });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    find("dropping").hidden = true;
    take(await ofDrop(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files.map((file) => ({ file, name: file.name || "pasted.png", alone: true })));
  });
}

function setTheme(theme) {
  const [text, words] = THEMES[theme];
  document.documentElement.dataset.theme = theme;
  find("theme").textContent = text;
  find("theme").setAttribute("aria-label", `Colours: ${words}`);
  keep("theme", theme, localStorage);
}

function showWhole() {
  const none = items.all.length === 0;
  find("empty").hidden = !none;
  find("viewer").hidden = none;
  const done = items.all.filter((item) => item.state === "done");
  find("all").hidden = done.length < 2;
  find("all").textContent = `Download ${done.length} as ZIP`;
  find("all").href = `/v1/archive?${new URLSearchParams(done.map((item) => ["id", item.job.id]))}`;
  const going = items.all.filter((item) => !["done", "failed", "cancelled"].includes(item.state)).length;
  document.title = going ? `${going} to do – superfine` : "superfine";
}

find("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
});
setTheme(kept("theme", "auto", localStorage) in THEMES ? kept("theme", "auto", localStorage) : "auto");
form.addEventListener("input", showSettings);
form.addEventListener("submit", (event) => event.preventDefault());
items.addEventListener("change", showWhole);
items.addEventListener("select", showWhole);
openDoors();
try {
  await fillModels();
  items.limits = await ask("/v1/limits");
  restoreSettings();
  showSettings();
  await items.restore();
} catch (error) {
  say(error.message);
  find("empty").querySelector(".big").textContent = error.message;
}
document.documentElement.dataset.ready = "yes";
