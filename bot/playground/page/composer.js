/** A message field: it grows with its text, completes commands and names, and sends on Enter. */

import { el } from "./dom.js";

let fields = 0;

/**
 * Set up a composer.
 * @param {{form: HTMLFormElement, field: HTMLTextAreaElement, list: HTMLElement, usage?: HTMLElement,
 *          suggest: (text: string) => {insert: string, title: string, detail: string}[],
 *          hint?: (text: string) => string, send: (text: string) => Promise<boolean>}} parts
 *   `suggest` returns whole texts for the one typed so far; `send` returns false if the text must be restored.
 */
export function composer({ form, field, list, usage, suggest, hint, send }) {
  const own = `option-${(fields += 1)}`;
  const past = [];
  let options = [];
  let active = -1;
  let dismissed = "";
  let waiting = Promise.resolve();
  let pending = 0;

  const grow = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 168)}px`;
  };
  const draw = () => {
    const open = options.length > 0;
    list.hidden = !open;
    field.setAttribute("aria-expanded", String(open));
    list.replaceChildren(...options.map((option, at) => el("div", {
      role: "option", id: `${own}-${at}`, "aria-selected": String(at === active), class: at === active ? "active" : null, "data-insert": option.insert,
      onmousedown: (event) => event.preventDefault(), onclick: () => take(at),
    }, el("span", { class: "option-title" }, option.title), el("span", { class: "muted small" }, option.detail))));
    if (active >= 0) {
      field.setAttribute("aria-activedescendant", `${own}-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  };
  const update = () => {
    const text = field.value;
    options = text && text !== dismissed ? suggest(text) : [];
    active = -1;
    draw();
    if (usage) {
      usage.textContent = options.length ? "" : hint?.(text) ?? "";
      usage.hidden = !usage.textContent;
    }
    grow();
  };
  const put = (text) => {
    field.value = text;
    field.setSelectionRange(text.length, text.length);
    update();
  };
  const take = (at) => {
    const { insert } = options[at];
    dismissed = insert;
    put(insert);
    field.focus();
  };
  const move = (by) => {
    active = (Math.max(active, by < 0 ? 0 : -1) + by + options.length) % options.length;
    draw();
  };
  const submit = () => {
    const text = field.value.trim();
    if (!text) return;
    past.push(text);
    put("");
    pending += 1;
    form.querySelector(".send").setAttribute("aria-busy", "true");
    waiting = waiting.then(() => send(text)).then((sent) => {
      if (!sent && !field.value) put(text);
      pending -= 1;
      if (!pending) form.querySelector(".send").removeAttribute("aria-busy");
    });
  };
  const keys = {
    ArrowDown: () => options.length && (move(1), true),
    ArrowUp: () => (options.length ? (move(-1), true) : !field.value && past.length && (put(past.at(-1)), true)),
    Tab: (event) => !event.shiftKey && options.length && (take(Math.max(active, 0)), true),
    Escape: () => options.length && (dismissed = field.value, update(), true),
    Enter: (event) => !event.shiftKey && (active >= 0 ? take(active) : submit(), true),
  };

  field.addEventListener("input", update);
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || !keys[event.key]?.(event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  field.addEventListener("blur", () => {
    options = [];
    draw();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    field.focus();
  });
  grow();
  return { put };
}

/** Suggestions for a text: commands if it starts with a slash, else names after the last `@`. */
export function suggestions(text, completions, users) {
  if (text.startsWith("/")) return commands(text, completions);
  const at = /(^|\s)@([\w.-]*)$/.exec(text);
  if (!at) return [];
  const stem = text.slice(0, text.length - at[2].length);
  const wanted = at[2].toLowerCase();
  return users.filter((user) => [user.name, user.real_name].some((name) => name?.toLowerCase().startsWith(wanted)))
    .slice(0, 8).map((user) => ({ insert: `${stem}${user.name} `, title: `@${user.name}`, detail: user.real_name ?? "" }));
}

function commands(text, completions) {
  const typed = text.toLowerCase().replace(/\s+/g, " ");
  return completions.filter(({ insert }) => insert.toLowerCase().startsWith(typed) && insert.trim().length > typed.trim().length)
    .map(({ command, insert, usage, help }) => ({ insert, title: usage.startsWith("/") ? usage : `${command} ${usage}`.trim(), detail: help ?? "" }));
}

/** The usage of a command, once its name is complete. */
export function usageOf(text, completions) {
  const typed = text.toLowerCase();
  const match = completions.filter(({ insert }) => insert.trim().length > 1 && `${typed} `.startsWith(`${insert.trim().toLowerCase()} `))
    .sort((a, b) => b.insert.length - a.insert.length)[0];
  if (!match) return "";
  const usage = match.usage.startsWith("/") ? match.usage : `${match.command} ${match.usage}`;
  return match.help ? `${usage.trim()}: ${match.help}` : usage.trim();
}
