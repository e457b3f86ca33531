/** Tables and charts: `table`, `data_table`, and `data_visualization` as a table of numbers. */

import { el } from "./dom.js";
import { button } from "./elements.js";
import { richText } from "./richtext.js";
import { plain } from "./text.js";

/** The words of a cell, for sorting and for the labels of a narrow screen. */
function cellText(cell) {
  if (!cell) return "";
  if (cell.type === "rich_text") return JSON.stringify(cell.elements ?? []).match(/"text":"((?:[^"\\]|\\.)*)"/)?.[1] ?? "";
  if (cell.type === "action_cell") return cellText(cell.fallback) || cell.element?.text?.text || "";
  return String(cell.text ?? cell.value ?? "");
}

function cellNodes(cell, blockId, ctx) {
  if (cell?.type === "rich_text") return richText(cell, ctx.people);
  if (cell?.type === "action_cell" && cell.element) return button(cell.element, blockId, ctx);
  return plain(cellText(cell));
}

/** A static grid. */
export function table(block, blockId, ctx) {
  const settings = block.column_settings ?? [];
  const align = (at) => (settings[at]?.align ? `align-${settings[at].align}` : "");
  const row = (cells, tag) => el("tr", {}, (cells ?? []).map((cell, at) =>
    el(tag, { class: `${align(at)} ${settings[at]?.is_wrapped ? "wrapped" : ""}`, scope: tag === "th" ? "col" : null }, cellNodes(cell, blockId, ctx))));
  const [head, ...body] = block.rows ?? [];
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    el("table", { class: "grid" }, el("thead", {}, row(head, "th")), el("tbody", {}, body.map((cells) => row(cells, "td")))));
}

const compare = (numeric, at) => (a, b) => (numeric
  ? a[at].value - b[at].value
  : cellText(a[at]).localeCompare(cellText(b[at]), undefined, { sensitivity: "base" }));

/** Rows in the order asked for; a column sorts by number only if all its cells are raw numbers. */
function sorted(rows, { column, down }) {
  if (column === undefined) return rows;
  const numeric = rows.every((row) => row[column]?.type === "raw_number");
  const order = [...rows].sort(compare(numeric, column));
  return down ? order.reverse() : order;
}

/** A grid with sorting and pages. What the reader chose is kept in `ctx.memory` over redraws. */
export function dataTable(block, blockId, ctx) {
  const [head = [], ...rows] = block.rows ?? [];
  const size = block.page_size ?? 5;
  const view = ctx.memory.get(blockId) ?? { page: 0 };
  ctx.memory.set(blockId, view);
  const root = el("div", { class: "data-table" });
  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / size));
    view.page = Math.min(view.page, pages - 1);
    const from = view.page * size;
    const page = sorted(rows, view).slice(from, from + size);
    root.replaceChildren(...[
      el("table", { class: "grid stacks" },
        el("caption", {}, plain(block.caption)),
        el("thead", {}, el("tr", {}, head.map((cell, at) => headCell(cell, at, rows, view, draw)))),
        el("tbody", {}, page.map((row) => bodyRow(row, head, block, blockId, ctx)))),
      pages > 1 && pager(view, pages, from, page.length, rows.length, draw)].filter(Boolean));
  };
  draw();
  return root;
}

function headCell(cell, at, rows, view, draw) {
  const words = cellText(cell);
  const numeric = rows.length > 0 && rows.every((row) => row[at]?.type === "raw_number");
  if (rows.some((row) => row[at]?.type === "action_cell")) return el("th", { scope: "col", class: "action" }, words);
  const mine = view.column === at;
  const sort = () => {
    Object.assign(view, { column: at, down: mine ? !view.down : false, page: 0 });
    draw();
  };
  return el("th", { scope: "col", class: numeric ? "number" : "", "aria-sort": mine ? (view.down ? "descending" : "ascending") : "none" },
    el("button", { type: "button", class: "sort", "data-column": at, onclick: sort }, words, el("span", { class: "arrow", "aria-hidden": "true" }, mine ? (view.down ? "▼" : "▲") : "")));
}

function bodyRow(row, head, block, blockId, ctx) {
  const lead = block.row_header_column_index ?? 0;
  return el("tr", {}, row.map((cell, at) => el(at === lead ? "th" : "td", {
    scope: at === lead ? "row" : null, "data-label": cellText(head[at]),
    class: cell?.type === "raw_number" ? "number" : cell?.type === "action_cell" ? "action" : "",
  }, cellNodes(cell, blockId, ctx))));
}

function pager(view, pages, from, shown, total, draw) {
  const turn = (by) => () => {
    view.page += by;
    draw();
  };
  return el("div", { class: "pager" },
    el("button", { type: "button", class: "btn", disabled: view.page === 0, onclick: turn(-1) }, "Previous"),
    el("span", { class: "muted small", role: "status" }, `${from + 1}–${from + shown} of ${total}`),
    el("button", { type: "button", class: "btn", disabled: view.page >= pages - 1, onclick: turn(1) }, "Next"));
}

/** A chart as the table of its numbers, each with a bar of its size. */
export function chart(block) {
  const data = block.chart ?? {};
  const pie = data.type === "pie";
  const names = pie ? ["Value"] : (data.series ?? []).map((series) => series.name ?? "");
  const labels = pie ? (data.segments ?? []).map((one) => one.label) : data.axis_config?.categories ?? (data.series?.[0]?.data ?? []).map((one) => one.label);
  const value = (at, series) => (pie ? data.segments[at].value : data.series[series].data?.[at]?.value);
  const top = Math.max(1, ...labels.flatMap((_, at) => names.map((__, series) => Math.abs(value(at, series) ?? 0))));
  const cell = (number, series) => {
    const bar = el("span", { class: `bar bar-${series % 4}` });
    bar.style.width = `${Math.round((Math.abs(number ?? 0) / top) * 100)}%`;
    return el("td", { class: "number" }, el("span", { class: "bar-cell" }, el("span", { class: "bar-track", "aria-hidden": "true" }, bar), String(number ?? "")));
  };
  return el("div", { class: "table-scroll chart", tabindex: "0", role: "region", "aria-label": block.title ?? "Chart" },
    el("table", { class: "grid" },
      el("caption", {}, plain(block.title)),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, data.axis_config?.x_label ?? ""), names.map((name) => el("th", { scope: "col", class: "number" }, name)))),
      el("tbody", {}, labels.map((label, at) => el("tr", {}, el("th", { scope: "row" }, label), names.map((_, series) => cell(value(at, series), series)))))));
}
