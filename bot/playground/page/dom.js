/** Helpers that build the page's elements. Text is always inserted as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  menu: "M4 6h16M4 12h16M4 18h16",
  close: "M6 6l12 12M18 6L6 18",
  back: "M15 5l-7 7 7 7",
  send: "M4 12l16-8-6 16-3-7z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  reply: "M4 5h16v11H9l-5 4z",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  inspect: "M8 7l-5 5 5 5M16 7l5 5-5 5M13.5 5l-3 14",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  open: "M8 8h8v8M16 8L7 17",
  down: "M12 5v14M6 13l6 6 6-6",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 1 0 .01 0z",
  info: "M12 3.5a8.5 8.5 0 1 0 .01 0zM12 11v5.5M12 7.6h.01",
  warning: "M12 4l9 16H3zM12 10v4.5M12 17.2h.01",
  shield: "M12 3l7.5 3v5.5c0 4.6-3.1 8-7.5 9.5-4.4-1.5-7.5-4.9-7.5-9.5V6zM8.7 12l2.4 2.4 4.4-4.6",
};

/**
 * Build an element: attributes, `class`, and `on<event>` listeners; children are nodes or strings.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] null, undefined and false leave an attribute out
 * @param {...(Node|string|null|false|undefined|Array)} children
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0 || child === ""));
  return node;
}

/** A line drawing, hidden from screen readers: label the control around it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.info);
  svg.append(path);
  return svg;
}

/** A short hash of a string, for colors. */
export function hash(text) {
  let sum = 7;
  for (const char of text) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  return sum;
}

/** An avatar: a shield for apps, initials on a color of their own for people. */
export function avatar(user) {
  if (!user || user.is_bot) return el("span", { class: "avatar app", "aria-hidden": "true" }, icon("shield"));
  const name = user.real_name || user.name || user.id;
  const initials = name.split(/\s+/).slice(0, 2).map((word) => word[0] ?? "").join("").toUpperCase();
  return el("span", { class: `avatar tone-${hash(user.id) % 6}`, "aria-hidden": "true" }, initials);
}

/**
 * Open a menu next to `trigger`. It closes on Escape, on a click outside, and on a choice.
 * @param {HTMLElement} trigger
 * @param {{label: Node|string, value?: string, detail?: string, choose: () => void}[]} items
 */
export function openMenu(trigger, items) {
  const rows = items.map((item) =>
    el("button", { type: "button", role: "menuitem", tabindex: "-1", "data-value": item.value, onclick: () => choose(item) },
      el("span", {}, item.label),
      item.detail && el("span", { class: "muted small" }, item.detail)));
  const menu = el("div", { class: "menu", role: "menu", popover: "auto" }, rows);
  const choose = (item) => {
    menu.hidePopover();
    item.choose();
  };
  menu.addEventListener("keydown", (event) => moveInMenu(event, rows));
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    trigger.setAttribute("aria-expanded", "false");
    if (menu.contains(document.activeElement) || document.activeElement === document.body) trigger.focus();
    menu.remove();
  });
  (trigger.closest("dialog") ?? document.body).append(menu);
  trigger.setAttribute("aria-expanded", "true");
  menu.showPopover();
  placeMenu(menu, trigger);
  rows[0]?.focus();
}

function moveInMenu(event, rows) {
  const at = rows.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  rows[(next + rows.length) % rows.length].focus();
}

function placeMenu(menu, trigger) {
  if (matchMedia("(max-width: 720px)").matches) return;
  const box = trigger.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const below = box.bottom + 4 + size.height < innerHeight;
  const left = box.left + size.width < innerWidth - 8 ? box.left : box.right - size.width;
  menu.style.left = `${Math.max(8, left)}px`;
  menu.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - size.height - 4)}px`;
}

/**
 * Give `parent` exactly these children, in order, building only what is new or has changed.
 * @param {HTMLElement} parent
 * @param {Map<string, {version: unknown, node: HTMLElement}>} cache kept by the caller between calls
 * @param {{key: string, version: unknown, build: (old: HTMLElement|undefined) => HTMLElement}[]} wanted
 */
export function reconcile(parent, cache, wanted) {
  const keys = new Set(wanted.map((item) => item.key));
  for (const [key, entry] of cache) {
    if (keys.has(key)) continue;
    entry.node.remove();
    cache.delete(key);
  }
  let cursor = parent.firstElementChild;
  for (const { key, version, build } of wanted) {
    let entry = cache.get(key);
    if (!entry || entry.version !== version) {
      const node = build(entry?.node);
      if (entry && cursor === entry.node) cursor = node;
      if (entry) swap(entry.node, node);
      entry = { version, node };
      cache.set(key, entry);
    }
    if (entry.node === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(entry.node, cursor);
  }
}

/** Replace a rendering by a new one, keeping the focus on the same control. */
export function swap(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused && focusMark(focused);
  const at = mark ? [...old.querySelectorAll(mark)].indexOf(focused) : -1;
  const caret = focused?.selectionStart ?? null;
  old.replaceWith(fresh);
  if (!focused) return;
  const again = mark ? fresh.querySelectorAll(mark)[at] : null;
  (again ?? fresh).focus({ preventScroll: true });
  if (again && caret !== null && again.type === "text") again.setSelectionRange(caret, caret);
}

function focusMark(node) {
  const { actionId, blockId, value } = node.dataset;
  if (actionId === undefined) return node.className ? `${node.localName}.${CSS.escape(node.classList[0])}` : null;
  const parts = [`[data-action-id="${CSS.escape(actionId)}"]`, `[data-block-id="${CSS.escape(blockId ?? "")}"]`];
  if (value !== undefined) parts.push(`[data-value="${CSS.escape(value)}"]`);
  return parts.join("");
}
