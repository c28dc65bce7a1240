// Words, numbers and elements.

export function time(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(count) {
  for (const unit of ["B", "kB", "MB"]) {
    if (count < 1000) return `${unit === "B" ? count : count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} GB`;
}

export const size = ({ width, height }) => `${width}×${height}`;

// Make an element: element("p", { class: "hint", onclick: f }, "text", other).
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Tell people who do not see the page; the same line twice in a row is told once.
export function say(text) {
  document.getElementById("said").textContent = text;
}

// Ask the server; what it refuses comes as an Error with its own words.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  } catch {
    throw new Error("the server does not answer");
  }
  const found = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw Object.assign(new Error(found?.detail ?? `the server said ${answer.status}`), { status: answer.status });
  return found;
}

// Remember something for this tab (or for good), where the browser allows it.
export function keep(name, value, where = sessionStorage) {
  try {
    where.setItem(`superfine.${name}`, JSON.stringify(value));
  } catch { /* a private window: it is forgotten */ }
}

export function kept(name, otherwise, where = sessionStorage) {
  try {
    return JSON.parse(where.getItem(`superfine.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
