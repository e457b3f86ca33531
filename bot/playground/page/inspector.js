/** The drawer of raw traffic between the bot and this playground. */

import { el } from "./dom.js";
import { ask } from "./net.js";

const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const part = (title, value) => (value === undefined || value === null || value === "" ? null : [el("h3", {}, title), el("pre", { tabindex: "0" }, json(value))]);

function clock(at) {
  const date = typeof at === "number" ? new Date(at * 1000) : new Date(at);
  return Number.isNaN(date.getTime()) ? String(at ?? "") : new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(date);
}

const nameOf = (entry) => entry.what ?? entry.name ?? "";

function row(entry) {
  return el("details", { class: "exchange" },
    el("summary", {}, el("span", { class: "muted small" }, clock(entry.at)), el("span", { class: "badge" }, entry.direction ?? ""), el("span", { class: "what" }, nameOf(entry))),
    part("Sent", entry.request ?? entry.sent), part("Answered", entry.response ?? entry.answer));
}

/** Wire up the drawer. `refresh` is cheap when it is closed. */
export function inspector({ panel, list, opener, closer, onError }) {
  let due = 0;
  let shown = "";
  const load = async () => {
    due = 0;
    try {
      const { traffic } = await ask("traffic");
      const text = JSON.stringify(traffic);
      if (text === shown) return;
      shown = text;
      const open = new Set([...list.querySelectorAll("details[open]")].map((node) => node.dataset.key));
      list.replaceChildren(...[...traffic].reverse().map((entry) => {
        const node = row(entry);
        node.dataset.key = `${entry.at} ${nameOf(entry)}`;
        node.open = open.has(node.dataset.key);
        return node;
      }));
      if (!traffic.length) list.append(el("p", { class: "muted" }, "Nothing has been exchanged yet."));
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
