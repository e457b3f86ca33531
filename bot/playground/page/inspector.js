/** The panel with the raw traffic between the bot and the playground. */

import { el } from "./dom.js";
import { ask } from "./net.js";

const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const part = (title, value) => (value === undefined || value === null || value === "" ? null : [el("h3", {}, title), el("pre", { tabindex: "0" }, json(value))]);

const clock = (at) => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(at));

function row(entry) {
  return el("details", { class: "exchange" },
    el("summary", {}, el("span", { class: "muted small" }, clock(entry.at)), el("span", { class: "badge" }, entry.direction), el("span", { class: "what" }, entry.name)),
    part("Request", entry.request), part("Answer", entry.answer));
}

/** Set up the panel. `refresh` costs nothing while it is closed. */
export function inspector({ panel, list, opener, closer, onError }) {
  let due = 0;
  let current = "";
  const load = async () => {
    due = 0;
    try {
      const { traffic } = await ask("traffic");
      const text = JSON.stringify(traffic);
      if (text === current) return;
      current = text;
      const open = new Set([...list.querySelectorAll("details[open]")].map((node) => node.dataset.key));
      list.replaceChildren(...[...traffic].reverse().map((entry) => {
        const node = row(entry);
        node.dataset.key = `${entry.at} ${entry.name}`;
        node.open = open.has(node.dataset.key);
        return node;
      }));
      if (!traffic.length) list.append(el("p", { class: "muted" }, "No traffic yet."));
    } catch (error) {
      onError(error);
    }
  };
  const refresh = () => {
    if (!panel.hidden && !due) due = setTimeout(load, 250);
  };
  const toggle = (open) => {
    panel.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) load().then(() => closer.focus());
    else opener.focus();
  };
  opener.addEventListener("click", () => toggle(panel.hidden));
  closer.addEventListener("click", () => toggle(false));
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") toggle(false);
  });
  return { refresh };
}
