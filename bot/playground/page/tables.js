/** `data_table`, and `data_visualization` as a table of numbers. */

import { el } from "./dom.js";
import { plain } from "./text.js";

/** A cell's text: what it shows, what it is sorted by, and its label on a narrow screen. */
const cellText = (cell) => String(cell?.text ?? "");

const isNumeric = (rows, column) => rows.length > 0 && rows.every((row) => row[column]?.type === "raw_number");

/** The rows in the chosen order; a column is sorted as numbers only if all its cells are raw numbers. */
function sorted(rows, { column, descending }) {
  if (column === undefined) return rows;
  const compare = isNumeric(rows, column)
    ? (a, b) => a[column].value - b[column].value
    : (a, b) => cellText(a[column]).localeCompare(cellText(b[column]), undefined, { sensitivity: "base" });
  const order = [...rows].sort(compare);
  return descending ? order.reverse() : order;
}

/** A grid with sorting and pages. The reader's choice is kept in `ctx.memory` over redraws. */
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
        el("thead", {}, el("tr", {}, head.map((cell, column) => headCell(cell, column, rows, view, draw)))),
        el("tbody", {}, page.map((row) => bodyRow(row, head, block)))),
      pages > 1 && pager(view, pages, from, page.length, rows.length, draw)].filter(Boolean));
  };
  draw();
  return root;
}

function headCell(cell, column, rows, view, draw) {
  const active = view.column === column;
  const sort = () => {
    Object.assign(view, { column, descending: active ? !view.descending : false, page: 0 });
    draw();
  };
  return el("th", { scope: "col", class: isNumeric(rows, column) ? "number" : "", "aria-sort": active ? (view.descending ? "descending" : "ascending") : "none" },
    el("button", { type: "button", class: "sort", "data-column": column, onclick: sort }, cellText(cell),
      el("span", { class: "arrow", "aria-hidden": "true" }, active ? (view.descending ? "▼" : "▲") : "")));
}

function bodyRow(row, head, block) {
  const lead = block.row_header_column_index ?? 0;
  return el("tr", {}, row.map((cell, column) => el(column === lead ? "th" : "td", {
    scope: column === lead ? "row" : null, "data-label": cellText(head[column]), class: cell?.type === "raw_number" ? "number" : "",
  }, plain(cellText(cell)))));
}

function pager(view, pages, from, count, total, draw) {
  const turn = (by) => () => {
    view.page += by;
    draw();
  };
  return el("div", { class: "pager" },
    el("button", { type: "button", class: "btn", disabled: view.page === 0, onclick: turn(-1) }, "Previous"),
    el("span", { class: "muted small", role: "status" }, `${from + 1}–${from + count} of ${total}`),
    el("button", { type: "button", class: "btn", disabled: view.page >= pages - 1, onclick: turn(1) }, "Next"));
}

/** A chart as a table of its numbers, each with a bar of proportional length. */
export function chart(block) {
  const { type, segments = [], series = [], axis_config: axes = {} } = block.chart ?? {};
  const pie = type === "pie";
  const names = pie ? ["Value"] : series.map((one) => one.name);
  const labels = pie ? segments.map((one) => one.label) : axes.categories ?? [];
  const value = (row, column) => (pie ? segments[row].value : series[column].data.find((point) => point.label === labels[row])?.value) ?? 0;
  const top = Math.max(1, ...labels.flatMap((_, row) => names.map((__, column) => Math.abs(value(row, column)))));
  const cell = (number, column) => {
    const bar = el("span", { class: `bar bar-${column % 4}` });
    bar.style.width = `${Math.round((Math.abs(number) / top) * 100)}%`;
    return el("td", { class: "number" }, el("span", { class: "bar-cell" }, el("span", { class: "bar-track", "aria-hidden": "true" }, bar), String(number)));
  };
  return el("div", { class: "table-scroll chart", tabindex: "0", role: "region", "aria-label": block.title ?? "Chart" },
    el("table", { class: "grid" },
      el("caption", {}, plain(block.title)),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, axes.x_label ?? ""), names.map((name) => el("th", { scope: "col", class: "number" }, name)))),
      el("tbody", {}, labels.map((label, row) => el("tr", {}, el("th", { scope: "row" }, label), names.map((_, column) => cell(value(row, column), column)))))));
}
