/** The playground's page: its state, what it draws, and how it reacts to events and clicks. */

import { renderBlocks } from "./blocks.js";
import { composer, suggestions, usageOf } from "./composer.js";
import { modalStack } from "./dialogs.js";
import { avatar, el, icon, swap } from "./dom.js";
import { collect } from "./elements.js";
import { inspector } from "./inspector.js";
import { isReply, keepEnd, keyOf, messageList, stick } from "./messages.js";
import { ask, follow } from "./net.js";
import { presses } from "./press.js";
import { refreshTimes } from "./text.js";

const FIRST_USER = "U0ANN";
const FIRST_CHANNEL = "C0CERTS";
const $ = (id) => document.getElementById(id);

/** Everything the page knows; filled by `boot`, kept up to date by `onEvent`. */
const state = {
  people: { me: null, users: new Map(), channels: new Map() }, messages: new Map(), home: null, modals: [], completions: [], shortcuts: [], app: {}, team: {},
  cursor: 0, channel: "", thread: "", tab: "messages", unread: new Map(), homeRequested: false,
};
const drafts = new Map();
let stop = () => {};
let epoch = 0;

/* Connecting and reconnecting ---------------------------------------------------------------------------------------- */

const route = () => new URLSearchParams(location.hash.slice(1));

/** Navigate by changing the URL's hash, so that the Back button works. */
function go(changes) {
  const next = route();
  for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
  location.hash = next.toString();
}

async function boot(delay = 500) {
  const mine = (epoch += 1);
  stop();
  try {
    const user = route().get("user") || FIRST_USER;
    const initial = await ask(`bootstrap?user=${encodeURIComponent(user)}`);
    if (mine !== epoch) return;
    load(initial);
    $("lost").hidden = true;
    stop = follow(state.people.me.id, state.cursor, onEvent, () => lost(delay));
  } catch (error) {
    if (mine !== epoch) return;
    if (!state.people.me) notice(error.message, "error", "boot");
    lost(delay);
  }
}

function lost(delay) {
  $("lost").hidden = false;
  const mine = epoch;
  setTimeout(() => { if (mine === epoch) boot(Math.min(delay * 2, 8000)); }, delay);
}

/** A completion with its command, which `insert` may lack. */
const whole = (one) => ({ ...one, insert: one.insert.startsWith("/") ? one.insert : `${one.command} ${one.insert}` });
const byKey = (messages) => new Map(messages.map((message) => [keyOf(message), message]));

function load(initial) {
  if (state.people.me?.id !== initial.me.id) {
    channelList.clear();
    threadList.clear();
    forget();
    state.unread.clear();
    drafts.clear();
    state.channel = "";
    $("home").replaceChildren();
  }
  Object.assign(state, {
    people: { me: initial.me, users: new Map(initial.users.map((one) => [one.id, one])), channels: new Map(initial.channels.map((one) => [one.id, one])) },
    messages: new Map(Object.entries(initial.messages).map(([channel, messages]) => [channel, byKey(messages)])),
    home: initial.home, modals: initial.modals, completions: initial.completions.map(whole), shortcuts: initial.shortcuts,
    app: initial.app, team: initial.team, cursor: initial.cursor, homeRequested: false,
  });
  drawUsers();
  arrive();
  modals.show(state.modals);
  document.body.dataset.ready = state.people.me.id;
}

/* Events ------------------------------------------------------------------------------------------------------------- */

const messagesOf = (channel) => {
  if (!state.messages.has(channel)) state.messages.set(channel, new Map());
  return state.messages.get(channel);
};

const EVENTS = {
  message({ message }) {
    const known = messagesOf(message.channel);
    const fresh = !known.has(keyOf(message));
    known.set(keyOf(message), message);
    if (fresh) arrived(message);
    if (message.channel === state.channel) drawMessages(fresh && message.user === state.people.me.id && !isReply(message));
  },
  message_removed({ channel, ts }) {
    const known = messagesOf(channel);
    for (const [key, message] of known) if (message.ts === ts) known.delete(key);
    if (channel === state.channel) drawMessages();
  },
  home({ view }) {
    state.home = view;
    state.homeRequested = true;
    drawHome();
  },
  modals({ views }) {
    state.modals = views;
    modals.show(views);
  },
  notice({ channel, text }) {
    const other = channel && channel !== state.channel ? state.people.channels.get(channel) : null;
    notice(other ? `${channelName(other)}: ${text}` : text);
  },
  channel({ channel }) {
    state.people.channels.set(channel.id, { ...state.people.channels.get(channel.id), ...channel });
    drawChannels();
    if (channel.id === state.channel) drawTop();
  },
  reload() {
    boot();
  },
};

function onEvent(event) {
  if (event.cursor) state.cursor = event.cursor;
  EVENTS[event.kind]?.(event);
  traffic.refresh();
}

/** Announce a new message, and count it as unread if its channel isn't visible. */
function arrived(message) {
  const mine = message.user === state.people.me.id;
  const here = message.channel === state.channel && (state.tab === "messages" || !isAppChannel()) && !document.hidden;
  const who = state.people.users.get(message.user);
  if (!mine) $("announce").replaceChildren(el("p", {}, `${who?.real_name || who?.name || "Someone"}: ${(message.text ?? "").slice(0, 300)}`));
  if (here || mine) return;
  state.unread.set(message.channel, (state.unread.get(message.channel) ?? 0) + 1);
  drawChannels();
}

/* Actions ------------------------------------------------------------------------------------------------------------ */

/** Send a request; a refusal becomes a notice. @returns the answer, or null */
async function send(path, body) {
  try {
    return await ask(path, { user: state.people.me.id, ...body });
  } catch (error) {
    notice(error.message, "error");
    return null;
  } finally {
    traffic.refresh();
  }
}

const { surface, forget } = presses({ people: () => state.people, send });
const messageSurface = (message, values) =>
  surface(`${message.channel} ${keyOf(message)}`, { channel: message.channel, ts: message.ts }, (node) => node.closest("article"), values);
const homeSurface = (view, values) => surface("home", { view_id: view.id }, () => $("home"), values);
const modalSurface = (view, values) => surface(view.id, { view_id: view.id }, (node) => node.closest("dialog"), values);

const modals = modalStack({
  ctx: modalSurface,
  close: (view) => {
    state.modals = state.modals.filter((one) => one.id !== view.id);
    modals.show(state.modals);
    send("close", { view_id: view.id });
  },
  submit: async (view, values) => (await send("submit", { view_id: view.id, values }))?.errors ?? {},
});

async function say(text, threadTs) {
  const answer = await send("say", { channel: state.channel, text, ...(threadTs ? { thread_ts: threadTs } : {}) });
  return answer !== null;
}

/** Show a line above the message field: from Slack itself, or about the playground. */
function notice(text, kind = "note", id = "") {
  if (id) $("notices").querySelector(`[data-id="${id}"]`)?.remove();
  const line = el("div", { class: `notice ${kind}`, "data-id": id || null }, icon(kind === "error" ? "warning" : "info"), el("span", {}, text),
    el("button", { type: "button", class: "plain", "aria-label": "Dismiss", onclick: () => line.remove() }, icon("close")));
  $("notices").append(line);
  while ($("notices").children.length > 3) $("notices").firstElementChild.remove();
  setTimeout(() => line.remove(), kind === "error" ? 30000 : 15000);
}

/* Drawing ------------------------------------------------------------------------------------------------------------ */

const channelList = messageList($("messages"));
const threadList = messageList($("thread-messages"));

/** Whom direct messages are with: their `user`, or the app if that is the reader. */
const partner = (im) => state.people.users.get(im.user === state.people.me.id ? state.app.bot_user : im.user);
const isAppChannel = () => {
  const channel = state.people.channels.get(state.channel);
  return Boolean(channel?.is_im) && partner(channel)?.id === state.app.bot_user;
};
const channelName = (channel) => (channel.is_im ? partner(channel)?.real_name || partner(channel)?.name || channel.name : `#${channel.name}`);

function drawUsers() {
  const people = [...state.people.users.values()].filter((user) => !user.is_bot);
  $("user").replaceChildren(...people.map((user) => el("option", { value: user.id }, `${user.real_name || user.name}${user.outsider ? " (external)" : user.guest ? " (guest)" : ""}`)));
  $("user").value = state.people.me.id;
  $("team").replaceChildren(el("strong", {}, state.team.name), el("span", {}, state.people.me.real_name || state.people.me.name));
}

function drawChannels() {
  const channels = [...state.people.channels.values()];
  const link = (channel) => {
    const unread = state.unread.get(channel.id) ?? 0;
    const mark = channel.is_im ? avatar(partner(channel)) : channel.is_private ? icon("lock") : el("span", { class: "hash", "aria-hidden": "true" }, "#");
    return el("a", {
      class: ["channel", unread && "unread", !channel.is_member && "without-app"].filter(Boolean).join(" "),
      href: `#${new URLSearchParams({ user: state.people.me.id, channel: channel.id })}`, "data-channel": channel.id,
      title: channel.is_member ? null : `${state.app.name} is not in this channel`,
      "aria-current": channel.id === state.channel ? "page" : null,
    }, mark, el("span", { class: "channel-name" }, channel.is_im ? channelName(channel) : channel.name), unread > 0 && el("span", { class: "count", "aria-label": `${unread} unread` }, String(unread)));
  };
  const group = (title, members) => members.length > 0 && el("section", {}, el("h2", {}, title), members.map(link));
  $("channels").replaceChildren(...[group("Channels", channels.filter((one) => !one.is_im)), group("Direct messages", channels.filter((one) => one.is_im))].filter(Boolean));
}

function drawTop() {
  const channel = state.people.channels.get(state.channel);
  $("title").replaceChildren(channel?.is_private && !channel.is_im ? icon("lock") : "", el("span", {}, channel ? channelName(channel) : ""));
  $("composer").placeholder = channel ? `Message ${channelName(channel)}` : "Message";
  $("tabs").hidden = !isAppChannel();
  const home = isAppChannel() && state.tab === "home";
  $("tab-home").setAttribute("aria-selected", String(home));
  $("tab-messages").setAttribute("aria-selected", String(!home));
  $("home").hidden = !home;
  $("messages").hidden = home;
  $("foot").classList.toggle("on-home", home);
}

/** Show what the URL's hash says. */
function arrive() {
  const wanted = route();
  const channels = state.people.channels;
  const channel = [wanted.get("channel"), FIRST_CHANNEL, [...channels.keys()][0]].find((id) => channels.has(id)) ?? "";
  const moved = channel !== state.channel;
  if (moved) {
    drafts.set(state.channel, $("composer").value);
    state.channel = channel;
    channelList.clear();
    main.put(drafts.get(channel) ?? "");
  }
  state.tab = wanted.get("tab") === "home" ? "home" : "messages";
  openThread(wanted.get("thread") ?? "");
  state.unread.delete(channel);
  sidebar(false);
  drawChannels();
  drawTop();
  drawMessages(moved);
  if (isAppChannel() && state.tab === "home") requestHome();
  if (moved && !state.thread && matchMedia("(min-width: 721px) and (not (pointer: coarse))").matches && !document.querySelector("dialog[open]")) $("composer").focus();
}

const byTime = (a, b) => Number(a.ts) - Number(b.ts);

function drawMessages(toEnd = false) {
  const all = [...messagesOf(state.channel).values()].sort(byTime);
  const replies = new Map();
  for (const message of all.filter(isReply)) replies.set(message.thread_ts, [...(replies.get(message.thread_ts) ?? []), message]);
  const view = { people: state.people, ctx: messageSurface, shortcuts: state.shortcuts, inThread: false, openThread: (ts) => go({ thread: ts }),
    shortcut: (id, message) => send("shortcut", { callback_id: id, channel: message.channel, ts: message.ts }) };
  const salt = state.shortcuts.length;
  const tops = all.filter((message) => !isReply(message));
  keepEnd($("messages"), toEnd, $("latest"), () => {
    channelList.draw(tops, (message) => replies.get(message.ts) ?? [], view, salt);
    drawHint(tops.length === 0);
  });
  if (state.thread) {
    const parent = all.filter((message) => message.ts === state.thread && !isReply(message));
    keepEnd($("thread-messages"), false, null, () => threadList.draw([...parent, ...(replies.get(state.thread) ?? [])], () => [], { ...view, inThread: true }, salt));
  }
}

function drawHint(empty) {
  const old = document.getElementById("hint");
  if (!empty) return old?.remove();
  if (old) return undefined;
  const first = state.completions.find(({ insert }) => insert.trim().endsWith(" help"))?.insert.trim() ?? "/ssl help";
  return $("messages").append(el("p", { id: "hint" }, "No messages yet. Type ",
    el("button", { type: "button", class: "code-button", onclick: () => { main.put(first); $("composer").focus(); } }, first), " to see what the bot can do."));
}

function openThread(ts) {
  const before = state.thread;
  state.thread = ts;
  $("thread").hidden = !ts;
  $("app").classList.toggle("with-thread", Boolean(ts));
  if (ts === before) return;
  threadList.clear();
  drafts.set(`thread ${before}`, $("thread-composer").value);
  reply.put(drafts.get(`thread ${ts}`) ?? "");
  const channel = state.people.channels.get(state.channel);
  $("thread-channel").textContent = channel ? channelName(channel) : "";
  if (ts) setTimeout(() => { (matchMedia("(min-width: 721px) and (not (pointer: coarse))").matches ? $("thread-composer") : $("close-thread")).focus(); $("thread-messages").scrollTop = $("thread-messages").scrollHeight; });
  else if (before) document.querySelector(`article[data-ts="${CSS.escape(before)}"] .replies, article[data-ts="${CSS.escape(before)}"]`)?.focus();
}

async function requestHome() {
  drawHome();
  await send("home", {});
  state.homeRequested = true;
  drawHome();
}

function drawHome() {
  const box = $("home");
  if (!state.home) {
    box.replaceChildren(el("p", { class: "muted empty" }, state.homeRequested ? "The app hasn't published a Home tab yet." : "Opening Home…"));
    return;
  }
  const fresh = el("div", { class: "blocks home-blocks", tabindex: "-1" }, renderBlocks(state.home.blocks, homeSurface(state.home, collect(box))));
  const old = box.querySelector(".home-blocks");
  if (old) swap(old, fresh);
  else box.replaceChildren(fresh);
}

function sidebar(open) {
  const narrow = matchMedia("(max-width: 720px)").matches;
  $("app").classList.toggle("with-sidebar", open);
  $("sidebar").inert = narrow && !open;
  $("open-sidebar").setAttribute("aria-expanded", String(open));
  if (open) $("sidebar").querySelector("[aria-current], a")?.focus();
}

/* Setup -------------------------------------------------------------------------------------------------------------- */

const suggest = (text) => suggestions(text, state.completions, [...state.people.users.values()]);
const main = composer({ form: $("compose"), field: $("composer"), list: $("completions"), usage: $("usage"), suggest,
  hint: (text) => usageOf(text, state.completions), send: (text) => say(text, "") });
const reply = composer({ form: $("thread-compose"), field: $("thread-composer"), list: $("thread-completions"),
  suggest: (text) => (text.startsWith("/") ? [] : suggest(text)), send: (text) => say(text, state.thread) });
const traffic = inspector({ panel: $("inspector"), list: $("traffic"), opener: $("open-inspector"), closer: $("close-inspector"),
  onError: (error) => notice(error.message, "error", "traffic") });

for (const [id, name] of [["open-sidebar", "menu"], ["open-inspector", "inspect"], ["close-thread", "close"], ["close-thread", "back"], ["close-inspector", "close"], ["send", "send"], ["thread-send", "send"]]) $(id).append(icon(name));
$("latest").prepend(icon("down"));

$("user").addEventListener("change", () => go({ user: $("user").value, thread: "" }));
$("open-sidebar").addEventListener("click", () => sidebar(!$("app").classList.contains("with-sidebar")));
$("scrim").addEventListener("click", () => sidebar(false));
$("close-thread").addEventListener("click", () => go({ thread: "" }));
$("tab-home").addEventListener("click", () => (state.tab === "home" ? requestHome() : go({ tab: "home", thread: "" })));
$("tab-messages").addEventListener("click", () => go({ tab: "" }));
$("tabs").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
  const other = state.tab === "home" ? $("tab-messages") : $("tab-home");
  other.click();
  other.focus();
});
$("latest").addEventListener("click", () => { $("messages").scrollTop = $("messages").scrollHeight; });
stick($("messages"), channelList.holder, $("latest"));
stick($("thread-messages"), threadList.holder, null);
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("composer").focus();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-channel-link]");
  if (!link) return;
  event.preventDefault();
  if (state.people.channels.has(link.dataset.channelLink)) go({ channel: link.dataset.channelLink, thread: "", tab: "" });
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], .menu")) return;
  if ($("app").classList.contains("with-sidebar")) sidebar(false);
  else if (state.thread && ($("thread").contains(document.activeElement) || matchMedia("(max-width: 1000px)").matches)) go({ thread: "" });
});
addEventListener("hashchange", () => {
  const user = route().get("user") || FIRST_USER;
  if (user !== state.people.me?.id) boot();
  else arrive();
});
addEventListener("resize", () => sidebar(false));
setInterval(refreshTimes, 30000);
boot();
