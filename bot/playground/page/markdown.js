/** Standard Markdown, as far as Slack's `markdown` block shows it. Images become links. */

import { el } from "./dom.js";
import { link, plain } from "./text.js";

const INLINE = [
  [/`([^`]+)`/, (m) => el("code", {}, m[1])],
  [/!?\[([^\]]*)\]\(([^()\s]+)\)/, (m) => link(m[2], ...spans(m[1] || m[2]))],
  [/<(https?:[^<>\s]+)>/, (m) => link(m[1], m[1])],
  [/\*\*(.+?)\*\*|__(.+?)__/, (m) => el("strong", {}, spans(m[1] ?? m[2]))],
  [/~~(.+?)~~/, (m) => el("s", {}, spans(m[1]))],
  [/\*(\S(?:.*?\S)?)\*|\b_(\S(?:.*?\S)?)_\b/, (m) => el("em", {}, spans(m[1] ?? m[2]))],
  [/https?:\/\/[^\s<>()]*[^\s<>().,;:!?]/, (m) => link(m[0], m[0])],
];

function spans(text) {
  let first = null;
  for (const [pattern, build] of INLINE) {
    const match = pattern.exec(text);
    if (match && (!first || match.index < first.match.index)) first = { match, build };
  }
  if (!first) return plain(text.replace(/\\([\\`*_{}[\]()#+.!|~<>-])/g, "$1"));
  const { match, build } = first;
  return [...spansOrNone(text.slice(0, match.index)), build(match), ...spansOrNone(text.slice(match.index + match[0].length))];
}

const spansOrNone = (text) => (text ? spans(text) : []);
const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());

/** Each kind of block: the test of its first line, and a function that takes lines off and builds it. */
const KINDS = [
  [(line) => /^\s*```/.test(line), fence],
  [(line) => /^#{1,6}\s/.test(line), heading],
  [(line) => /^\s*([-*_])(\s*\1){2,}\s*$/.test(line), (lines) => (lines.shift(), el("hr"))],
  [(line) => /^\s*>/.test(line), quote],
  [(line) => /^\s*([-*+]|\d+[.)])\s/.test(line), list],
  [(line, next) => line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(next ?? ""), table],
];

const kindOf = (lines) => KINDS.find(([test]) => test(lines[0], lines[1]))?.[1];

/** Markdown text as a list of block elements. */
export function markdown(text) {
  const lines = String(text ?? "").split("\n");
  const nodes = [];
  while (lines.length) {
    if (!lines[0].trim()) lines.shift();
    else nodes.push((kindOf(lines) ?? paragraph)(lines));
  }
  return nodes;
}

function paragraph(lines) {
  const taken = [lines.shift()];
  while (lines.length && lines[0].trim() && !kindOf(lines)) taken.push(lines.shift());
  return el("div", { class: "par" }, spans(taken.join("\n")));
}

function fence(lines) {
  lines.shift();
  const taken = [];
  while (lines.length && !/^\s*```/.test(lines[0])) taken.push(lines.shift());
  lines.shift();
  return el("pre", {}, taken.join("\n"));
}

function heading(lines) {
  const [, marks, title] = /^(#+)\s+(.*?)\s*#*$/.exec(lines.shift());
  return el(`h${Math.min(6, marks.length + 2)}`, { class: `md-h${marks.length}` }, spans(title));
}

function quote(lines) {
  const taken = [];
  while (lines.length && /^\s*>/.test(lines[0])) taken.push(lines.shift().replace(/^\s*> ?/, ""));
  return el("blockquote", {}, markdown(taken.join("\n")));
}

function list(lines) {
  const ordered = /^\s*\d/.test(lines[0]);
  const root = el(ordered ? "ol" : "ul");
  const margin = lines[0].search(/\S/);
  while (lines.length) {
    const match = /^(\s*)(?:[-*+]|\d+[.)])\s+(.*)$/.exec(lines[0]);
    if (!match || match[1].length < margin) break;
    if (match[1].length > margin && root.lastElementChild) root.lastElementChild.append(list(lines));
    else root.append(el("li", {}, spans((lines.shift(), match[2]))));
  }
  return root;
}

function table(lines) {
  const head = cells(lines.shift());
  lines.shift();
  const body = [];
  while (lines.length && lines[0].includes("|")) body.push(cells(lines.shift()));
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, head.map((cell) => el("th", { scope: "col" }, spansOrNone(cell))))),
      el("tbody", {}, body.map((row) => el("tr", {}, row.map((cell) => el("td", {}, spansOrNone(cell))))))));
}
