/** Slack's text as DOM: mrkdwn, plain text, mentions, dates, emoji. */

import { el } from "./dom.js";

/** Emoji by Slack's names: those that the bot and its users are likely to use. */
const EMOJI = {
  white_check_mark: "✅", heavy_check_mark: "✔️", ballot_box_with_check: "☑️", x: "❌", warning: "⚠️", no_entry: "⛔",
  no_entry_sign: "🚫", octagonal_sign: "🛑", rotating_light: "🚨", fire: "🔥", boom: "💥", skull: "💀", exclamation: "❗",
  red_circle: "🔴", large_orange_circle: "🟠", large_yellow_circle: "🟡", large_green_circle: "🟢",
  large_blue_circle: "🔵", blue_circle: "🔵", white_circle: "⚪", black_circle: "⚫",
  hourglass: "⌛", hourglass_flowing_sand: "⏳", stopwatch: "⏱️", alarm_clock: "⏰", clock3: "🕒", black_square_for_stop: "⏹️", calendar: "📅", date: "📅",
  spiral_calendar_pad: "🗓️", mag: "🔍", mag_right: "🔎", eyes: "👀", wave: "👋", tada: "🎉", thumbsup: "👍", "+1": "👍",
  thumbsdown: "👎", "-1": "👎", pray: "🙏", raised_hands: "🙌", lock: "🔒", unlock: "🔓", closed_lock_with_key: "🔐", key: "🔑",
  bell: "🔔", no_bell: "🔕", mute: "🔇", zzz: "💤", sleeping: "😴", arrows_counterclockwise: "🔄", repeat: "🔁",
  grey_question: "❔", question: "❓", bulb: "💡", information_source: "ℹ️", link: "🔗", globe_with_meridians: "🌐",
  satellite_antenna: "📡", electric_plug: "🔌", wrench: "🔧", hammer_and_wrench: "🛠️", gear: "⚙️", wastebasket: "🗑️",
  pencil: "📝", memo: "📝", clipboard: "📋", page_facing_up: "📄", bar_chart: "📊", chart_with_upwards_trend: "📈",
  robot_face: "🤖", shield: "🛡️", scroll: "📜", ghost: "👻", sunny: "☀️", thinking_face: "🤔", smile: "😄", slightly_smiling_face: "🙂",
  heart: "❤️", rocket: "🚀", point_right: "👉", arrow_right: "➡️", small_red_triangle: "🔺", speech_balloon: "💬",
  heavy_plus_sign: "➕", heavy_minus_sign: "➖", construction: "🚧", door: "🚪", package: "📦", inbox_tray: "📥", sos: "🆘", raising_hand: "🙋", no_bell: "🔕", book: "📖",
};

/** The emoji that mean a state: the style sheet draws them, so that they look the same on every machine. */
const SIGNS = {
  "🔴": "red dot", "🟠": "orange dot", "🟡": "yellow dot", "🟢": "green dot", "🔵": "blue dot", "⚪": "white dot", "⚫": "black dot",
  "✅": "tick", "❌": "cross", "⚠": "caution", "⛔": "stop", "⏳": "wait", "⌛": "wait", "🚨": "alarm", "🔒": "locked", "🔔": "bell",
  "🔍": "find", "🔄": "again", "❔": "query", "👋": "wave",
  "🕒": "clock", "📅": "day", "👀": "eyes", "⏹": "halt", "📝": "note", "🤔": "think", "🙋": "hand", "🔕": "muted", "📖": "book",
};
const SIGN = new RegExp(`(${Object.keys(SIGNS).join("|")})\\uFE0F?`, "u");
const NAMES = Object.fromEntries(Object.entries(EMOJI).map(([name, char]) => [char.replace("\uFE0F", ""), name.replaceAll("_", " ")]));

/** Decode Slack's three entities. */
const decode = (text) => text.replace(/&(amp|lt|gt);/g, (_, name) => ({ amp: "&", lt: "<", gt: ">" })[name]);

function sign(char) {
  const bare = char.replace("\uFE0F", "");
  return el("span", { class: `sign ${SIGNS[bare]}`, role: "img", "aria-label": NAMES[bare] ?? "" }, el("span", { "aria-hidden": "true" }, char));
}

/** Text with its state emoji drawn; everything else stays as it is. */
function withSigns(text) {
  const parts = [];
  let rest = text;
  for (let match = SIGN.exec(rest); match; match = SIGN.exec(rest)) {
    parts.push(rest.slice(0, match.index), sign(match[0]));
    rest = rest.slice(match.index + match[0].length);
  }
  return [...parts, rest].filter((part) => part !== "");
}

/** An emoji by its name, or null for an unknown name. */
function emoji(name) {
  const char = EMOJI[name.replace(/::skin-tone-\d$/, "")];
  if (!char) return null;
  return SIGNS[char.replace("\uFE0F", "")] ? sign(char) : el("span", { class: "emoji", role: "img", "aria-label": name.replaceAll("_", " ") }, char);
}

/** Plain text, in which only `:emoji:` names are markup. */
export function plain(text) {
  const parts = String(text ?? "").split(/(:[a-z0-9_+-]+:)/);
  return parts.flatMap((part, at) => (at % 2 ? [emoji(part.slice(1, -1)) ?? part] : withSigns(part)));
}

/** The URL if the page may open it, else null. */
export function safeUrl(url) {
  try {
    const parsed = new URL(decode(String(url)));
    return ["http:", "https:", "mailto:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/** A link that opens a new tab; only the label if the page may not open the URL. */
function link(url, ...label) {
  const href = safeUrl(url);
  return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...label) : el("span", {}, ...label);
}

/** A mention of a person, a group, a channel or everyone. */
function mention(kind, id, label, people) {
  if (kind === "broadcast") return el("span", { class: "mention loud" }, `@${id}`);
  if (kind === "user") {
    const user = people.users.get(id);
    const mine = id === people.me?.id ? " mine" : "";
    return el("span", { class: `mention${mine}`, title: id }, `@${user?.real_name || user?.name || label || id}`);
  }
  if (kind === "group") return el("span", { class: "mention" }, label || `@${id}`);
  return el("a", { class: "mention", href: "#", "data-channel-link": id }, `#${people.channels.get(id)?.name || label || id}`);
}

/* Dates -------------------------------------------------------------------------------------------------------------- */

const show = (date, options) => new Intl.DateTimeFormat(undefined, options).format(date);
const dayNumber = (date) => Math.floor((date.getTime() - date.getTimezoneOffset() * 60000) / 86400000);

function prettyDay(date, otherwise) {
  const apart = dayNumber(date) - dayNumber(new Date());
  return { "-1": "yesterday", 0: "today", 1: "tomorrow" }[apart] ?? otherwise;
}

/** How long ago, or in how long, in the reader's language. */
export function ago(date) {
  const seconds = (date.getTime() - Date.now()) / 1000;
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  for (const [unit, length] of [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(0, "second");
}

const DATE_TOKENS = {
  date_num: (d) => `${d.getFullYear()}-${String(d.getMonth() + 1).padStart(2, "0")}-${String(d.getDate()).padStart(2, "0")}`,
  date_slash: (d) => show(d, { year: "numeric", month: "2-digit", day: "2-digit" }),
  date_long: (d) => show(d, { weekday: "long", year: "numeric", month: "long", day: "numeric" }),
  date_long_full: (d) => show(d, { weekday: "long", year: "numeric", month: "long", day: "numeric" }),
  date_long_pretty: (d) => prettyDay(d, DATE_TOKENS.date_long(d)),
  date: (d) => show(d, { year: "numeric", month: "long", day: "numeric" }),
  date_pretty: (d) => prettyDay(d, DATE_TOKENS.date(d)),
  date_short: (d) => show(d, { year: "numeric", month: "short", day: "numeric" }),
  date_short_pretty: (d) => prettyDay(d, DATE_TOKENS.date_short(d)),
  day_divider_pretty: (d) => prettyDay(d, DATE_TOKENS.date_long(d)),
  time: (d) => show(d, { hour: "numeric", minute: "2-digit" }),
  time_secs: (d) => show(d, { hour: "numeric", minute: "2-digit", second: "2-digit" }),
  ago,
};

/** Slack's date format in the browser's time zone, for instance `{date_short} at {time}`. */
export const formatDate = (date, format) => format.replace(/\{(\w+)\}/g, (all, token) => DATE_TOKENS[token]?.(date) ?? all);

/** A `<time>`, kept up to date by `refreshTimes`. */
function dateNode(unix, format, fallback, url) {
  const date = new Date(Number(unix) * 1000);
  if (Number.isNaN(date.getTime())) return el("span", {}, fallback ?? "");
  const title = `${show(date, { dateStyle: "full", timeStyle: "long" })} · ${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  const node = el("time", { datetime: date.toISOString(), title, "data-format": format }, formatDate(date, format));
  return url ? link(url, node) : node;
}

/** Update "3 minutes ago" and "today". */
export function refreshTimes() {
  for (const node of document.querySelectorAll("time[data-format*=ago], time[data-format*=pretty]")) {
    node.textContent = formatDate(new Date(node.dateTime), node.dataset.format);
  }
}

/* mrkdwn ------------------------------------------------------------------------------------------------------------- */

/** Slack's mrkdwn as nodes: paragraphs, quotes and code blocks, in order. */
export function mrkdwn(text, people) {
  const nodes = [];
  for (const [at, part] of String(text ?? "").split(/```([\s\S]+?)```/).entries()) {
    if (at % 2) nodes.push(el("pre", {}, decode(part.replace(/<([^<>|]+)(?:\|([^<>]*))?>/g, (_, url, label) => label || url)).replace(/^\n|\n$/g, "")));
    else nodes.push(...paragraphs(part, people));
  }
  return nodes;
}

function paragraphs(text, people) {
  const groups = [];
  for (const line of text.replace(/^\n|\n$/g, "").split("\n")) {
    const quote = /^(?:>|&gt;) ?(.*)$/.exec(line);
    const kind = quote ? "blockquote" : "div";
    if (groups.at(-1)?.kind === kind) groups.at(-1).lines.push(quote ? quote[1] : line);
    else groups.push({ kind, lines: [quote ? quote[1] : line] });
  }
  return groups.filter(({ lines }) => lines.join("") !== "" || groups.length > 1)
    .map(({ kind, lines }) => el(kind, { class: "par" }, inline(lines.join("\n"), people)));
}

const CODE = /`([^`\n]+)`/y;
const ANGLE = /<([^<>\n]+)>/y;
const COLON = /:([a-z0-9_+-]+):/y;
const ADDRESS = /https?:\/\/[^\s<>|`]*[^\s<>|`.,;:!?)\]"'*_~]/y;
const STYLES = { "*": "strong", _: "em", "~": "s" };

const matchAt = (pattern, text, at) => {
  pattern.lastIndex = at;
  return pattern.exec(text);
};

/** mrkdwn without quotes and code blocks, as a list of nodes and strings. */
function inline(text, people) {
  const nodes = [];
  let pending = "";
  const flush = () => {
    nodes.push(...withSigns(decode(pending)));
    pending = "";
  };
  for (let at = 0; at < text.length;) {
    const token = tokenAt(text, at, people);
    if (!token) {
      pending += text[at];
      at += 1;
      continue;
    }
    flush();
    nodes.push(token.node);
    at = token.end;
  }
  flush();
  return nodes;
}

function tokenAt(text, at, people) {
  const char = text[at];
  const pattern = { "`": CODE, "<": ANGLE, ":": COLON, h: ADDRESS }[char];
  if (pattern) {
    const match = matchAt(pattern, text, at);
    if (!match) return null;
    const node = { "`": () => el("code", {}, decode(match[1])), "<": () => angle(match[1], people), ":": () => emoji(match[1]),
      h: () => link(match[0], decode(match[0])) }[char]();
    return node && { node, end: at + match[0].length };
  }
  if (!STYLES[char]) return null;
  const end = emphasisEnd(text, at);
  return end < 0 ? null : { node: el(STYLES[char], {}, inline(text.slice(at + 1, end), people)), end: end + 1 };
}

/** Where the emphasis that starts at `at` ends, or -1. Marks count only at the edges of words, and within a line. */
function emphasisEnd(text, at) {
  const mark = text[at];
  const word = /[\p{L}\p{N}]/u;
  if (at > 0 && word.test(text[at - 1])) return -1;
  if (at + 1 >= text.length || /\s/.test(text[at + 1]) || text[at + 1] === mark) return -1;
  for (let end = at + 1; end < text.length && text[end] !== "\n"; end += 1) {
    const skip = text[end] === "`" ? matchAt(CODE, text, end) : text[end] === "<" ? matchAt(ANGLE, text, end) : null;
    if (skip) end += skip[0].length - 1;
    else if (text[end] === mark && end > at + 1 && !/\s/.test(text[end - 1]) && !word.test(text[end + 1] ?? " ")) return end;
  }
  return -1;
}

function angle(inner, people) {
  const [target, ...rest] = inner.split("|");
  const label = rest.length ? decode(rest.join("|")) : "";
  if (target.startsWith("@")) return mention("user", target.slice(1), label, people);
  if (target.startsWith("#")) return mention("channel", target.slice(1), label, people);
  if (!target.startsWith("!")) {
    if (!label && !safeUrl(target)) return el("span", {}, `<${decode(target)}>`);
    return link(target, ...(label ? plain(label) : [decode(target.replace(/^mailto:/, ""))]));
  }
  const [name, ...args] = target.slice(1).split("^");
  if (name === "date") return dateNode(args[0], decode(args[1] ?? "{date}"), label, args[2]);
  if (name === "subteam") return mention("group", args[0], label, people);
  return ["channel", "here", "everyone"].includes(name) ? mention("broadcast", name, "", people) : el("span", {}, label || name);
}

/** A text object as nodes, by its type. */
export function textObject(object, people) {
  if (object === null || object === undefined) return [];
  return object.type === "mrkdwn" ? mrkdwn(object.text, people) : plain(object.text);
}
