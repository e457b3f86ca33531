/** Messages as articles, and the lists that contain them (a channel, a thread). */

import { renderBlocks } from "./blocks.js";
import { avatar, el, icon, openMenu, reconcile } from "./dom.js";
import { collect } from "./elements.js";
import { ago, formatDate, mrkdwn } from "./text.js";

const GROUP_SECONDS = 300;

/** Whether a message is a reply in a thread. */
export const isReply = (message) => Boolean(message.thread_ts) && message.thread_ts !== message.ts;
/** A key that is unique in a channel. */
export const keyOf = (message) => `${message.ephemeral ? "only-you-" : ""}${message.ts}`;

const when = (message) => new Date(Number(message.ts) * 1000);

/**
 * One message.
 * @param {object} message
 * @param {{people, ctx: (message, values) => object, replies: object[], compact: boolean, inThread: boolean, shortcuts: object[],
 *          openThread: (ts) => void, shortcut: (id, message) => void}} view
 * @param {HTMLElement} [old] the rendering that this one replaces: what was typed in it is kept
 */
export function article(message, view, old) {
  const user = view.people.users.get(message.user) ?? { id: message.user };
  const name = user.real_name || user.name || user.id;
  const time = when(message);
  const stamp = el("time", { class: "stamp", datetime: time.toISOString(), title: formatDate(time, "{date_long} {time_secs}") }, formatDate(time, "{time}"));
  const badge = user.is_bot ? "App" : user.outsider ? "External" : user.guest ? "Guest" : "";
  const body = message.blocks?.length ? renderBlocks(message.blocks, view.ctx(message, old ? collect(old) : {})) : el("div", { class: "text" }, mrkdwn(message.text, view.people));
  return el("article", {
    class: ["message", message.ephemeral && "ephemeral", view.compact && "compact", user.is_bot && "from-app"].filter(Boolean).join(" "),
    "data-ts": message.ts, "data-channel": message.channel, "aria-label": `${name}, ${formatDate(time, "{time}")}`, tabindex: "-1",
  },
  message.ephemeral && el("div", { class: "only-you" }, icon("eye"), "Only visible to you"),
  el("div", { class: "gutter" }, view.compact ? stamp.cloneNode(true) : avatar(user)),
  el("div", { class: "content" },
    view.compact ? null : el("div", { class: "byline" }, el("span", { class: "author" }, name), badge && el("span", { class: "badge" }, badge), stamp),
    el("div", { class: "blocks" }, body, files(message)),
    !view.inThread && view.replies.length ? replyBar(message, view) : null),
  message.ephemeral ? null : tools(message, view));
}

function files(message) {
  if (!message.files?.length) return null;
  return el("div", { class: "files" }, message.files.map((file) =>
    el("span", { class: "file" }, icon("file"), el("strong", {}, file.title || file.name || file.id), file.size && el("span", { class: "muted small" }, `${file.size.toLocaleString()} bytes`))));
}

function replyBar(message, view) {
  const count = view.replies.length;
  const last = view.replies.at(-1);
  const faces = [...new Set(view.replies.map((reply) => reply.user))].slice(0, 3).map((id) => avatar(view.people.users.get(id)));
  return el("button", { type: "button", class: "replies", onclick: () => view.openThread(message.ts) },
    el("span", { class: "faces" }, faces), el("strong", {}, `${count} ${count === 1 ? "reply" : "replies"}`), el("span", { class: "muted small" }, ago(when(last))));
}

function tools(message, view) {
  const reply = !view.inThread && { label: "Reply in thread", choose: () => view.openThread(message.ts) };
  const items = [reply, ...view.shortcuts.map((one) => ({ label: one.name, value: one.callback_id, choose: () => view.shortcut(one.callback_id, message) }))].filter(Boolean);
  if (!items.length) return null;
  const more = el("button", { type: "button", class: "plain message-menu", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": "Message actions",
    onclick: () => openMenu(more, items) }, icon("more"));
  return el("div", { class: "tools" }, reply && el("button", { type: "button", class: "plain reply", "aria-label": "Reply in thread", title: "Reply in thread",
    onclick: reply.choose }, icon("reply")), more);
}

const dayOf = (message) => formatDate(when(message), "{date_num}");

function dayLine(message) {
  return el("div", { class: "day", role: "separator" }, el("time", { datetime: when(message).toISOString(), "data-format": "{day_divider_pretty}" }, formatDate(when(message), "{day_divider_pretty}")));
}

/** Whether a message is drawn without its author, because the one before it shows the same author. */
const follows = (message, before) => before?.user === message.user && !message.ephemeral && !before.ephemeral && !message.blocks?.length
  && Number(message.ts) - Number(before.ts) < GROUP_SECONDS;

/** A list of messages that is updated in place. `draw(messages, repliesOf, view)` may be called at any time. */
export function messageList(parent) {
  const cache = new Map();
  const holder = el("div", { class: "list" });
  parent.append(holder);
  const versions = new WeakMap();
  let stamp = 0;
  const versionOf = (message) => {
    if (!versions.has(message)) versions.set(message, (stamp += 1));
    return versions.get(message);
  };

  function draw(messages, repliesOf, view, salt = "") {
    const wanted = [];
    let before = null;
    for (const message of messages) {
      const day = dayOf(message);
      if (!view.inThread && (!before || dayOf(before) !== day)) wanted.push({ key: `day-${day}`, version: day, build: () => dayLine(message) });
      const replies = repliesOf(message);
      const compact = !view.people.users.get(message.user)?.is_bot && follows(message, before) && dayOf(before) === day && !repliesOf(before).length;
      const version = [salt, versionOf(message), compact, replies.length, replies.at(-1)?.ts].join();
      wanted.push({ key: keyOf(message), version, build: (old) => article(message, { ...view, replies, compact }, old) });
      before = message;
    }
    reconcile(holder, cache, wanted);
  }

  function clear() {
    cache.clear();
    holder.replaceChildren();
  }

  return { draw, clear, holder };
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 48;

/** Draw; stay at the end if it was visible, else offer a button that leads there. */
export function keepEnd(box, toEnd, offer, draw) {
  if (toEnd && offer) offer.hidden = true;
  const stay = toEnd || box.dataset.atEnd !== "no";
  const before = box.scrollHeight;
  draw();
  if (stay) {
    box.dataset.atEnd = "yes";
    box.scrollTop = box.scrollHeight;
  } else if (offer && box.scrollHeight > before) offer.hidden = false;
}

/** Keep a list scrolled to its end when it or its content changes size. */
export function stick(box, list, offer) {
  const settle = () => { if (box.dataset.atEnd !== "no") box.scrollTop = box.scrollHeight; };
  const sizes = new ResizeObserver(settle);
  sizes.observe(box);
  sizes.observe(list);
  box.addEventListener("scroll", () => {
    box.dataset.atEnd = atEnd(box) ? "yes" : "no";
    if (offer && atEnd(box)) offer.hidden = true;
  });
}
