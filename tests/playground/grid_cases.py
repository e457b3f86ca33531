"""What just passes the limits of tables and charts; and what just does not."""

from __future__ import annotations

from tests.playground.blocks import (
    ACTION,
    NUMERIC,
    RICH,
    Cases,
    bar,
    cell,
    chart,
    data_table,
    home,
    image,
    message,
    modal,
    names,
    pie,
    plain,
    rows,
    table,
    without,
)

GRID_CASES: Cases = {
    "table: surface": (home(table()), modal(table())),
    "data_table: surface": (home(data_table()), modal(data_table())),
    "data_visualization: surface": (message(chart()), home(chart())),
    "table: rows": (message(table(100)), message(table(101)), message(table(0))),
    "table: columns": (
        message(table(1, 20)),
        message(table(1, 21)),
        message(table(1, 0)),
        message({"type": "table", "rows": [cell()]}),
    ),
    "table: column_settings": (
        message(table(column_settings=[None] * 20)),
        message(table(column_settings=[None] * 21)),
    ),
    "data_table: parts": (message(data_table()), message(without(data_table(), "caption"))),
    "data_table: rows": (
        message(data_table(201)),
        message(data_table(202)),
        message(data_table(1)),
    ),
    "data_table: columns": (
        message(data_table(2, 20)),
        message(data_table(2, 21)),
        message(data_table(2, 0)),
    ),
    "data_table: header": (
        message({**data_table(), "rows": [[cell()], [RICH]]}),
        message({**data_table(), "rows": [[RICH], [cell()]]}),
    ),
    "data_table: page_size": (
        message(data_table(page_size=100)),
        message(data_table(page_size=101)),
    ),
    "chart: parts": (message(chart()), message(without(chart(), "title"))),
    "chart: title": (message(chart(title=50)), message(chart(title=51))),
    "chart: kind": (message(chart()), message(chart({"type": "radar"}))),
    "chart: segments": (
        message(chart(pie(*[(1, 1)] * 12))),
        message(chart(pie(*[(1, 1)] * 13))),
        message(chart(pie())),
    ),
    "chart: each segment": (
        message(chart(pie((20, 0.1)))),
        message(chart(pie((1, 0)))),
        message(chart(pie((21, 1)))),
        message(chart(pie((0, 1)))),
    ),
    "chart: series": (
        message(chart(bar(names(12), ["a"]))),
        message(chart(bar(names(13), ["a"]))),
        message(chart(bar([], ["a"]))),
    ),
    "chart: series names": (
        message(chart(bar(["n" * 20], ["a"]))),
        message(chart(bar(["n" * 21], ["a"]))),
        message(chart(bar(["n", "n"], ["a"]))),
        message(chart(bar([""], ["a"]))),
    ),
    "chart: categories": (
        message(chart(bar(["n"], names(20)))),
        message(chart(bar(["n"], names(21)))),
        message(chart(bar(["n"], []))),
        message(chart(bar(["n"], ["a", "a"]))),
        message(chart(bar(["n"], ["a" * 21]))),
    ),
    "chart: points": (
        message(chart(bar(["n"], ["a", "b"]))),
        message(chart(bar(["n"], ["a", "b"], categories=["a"]))),
        message(chart(bar(["n"], ["a"], categories=["a", "b"]))),
        message(chart(bar(["n"], ["a", "a"], categories=["a"]))),
    ),
    "chart: axis labels": (
        message(chart(bar(["n"], ["a"], x_label="x" * 50, y_label="x" * 50))),
        message(chart(bar(["n"], ["a"], x_label="x" * 51))),
        message(chart(bar(["n"], ["a"], y_label="x" * 51))),
    ),
    "table: rows given": (message(table()), message(without(table(), "rows"))),
    "table: kinds of cell": (
        message(rows([cell(), NUMERIC, RICH])),
        message(rows([ACTION])),
        message(rows([plain()])),
        message(rows([None])),
    ),
    "table: each column_setting": (
        message(table(column_settings=[None, {"align": "right", "is_wrapped": True}])),
        message(table(column_settings=[{"align": "top"}])),
        message(table(column_settings=[{"is_wrapped": 1}])),
        message(table(column_settings=["left"])),
    ),
    "data_table: caption": (
        message(data_table(caption="c")),
        message(data_table(caption="")),
        message(data_table(caption=plain())),
    ),
    "data_table: rectangle": (
        message(rows([cell()] * 2, [cell()] * 2, kind="data_table")),
        message(rows([cell()] * 2, [cell()], kind="data_table")),
    ),
    "data_table: kinds of cell": (
        message(rows([cell()] * 4, [cell(), NUMERIC, RICH, ACTION], kind="data_table")),
        message(rows([cell()], [plain()], kind="data_table")),
    ),
    "data_table: row header": (
        message(data_table(2, 3, row_header_column_index=2)),
        message(data_table(2, 3, row_header_column_index=3)),
        message(data_table(2, 3, row_header_column_index=-1)),
        message(data_table(2, 3, row_header_column_index="0")),
    ),
    "cell: text": (
        message(rows([NUMERIC, cell(1)])),
        message(rows([cell(0)])),
        message(rows([{**NUMERIC, "text": ""}])),
        message(rows([without(NUMERIC, "text")])),
    ),
    "cell: number": (
        message(rows([{**NUMERIC, "value": -0.5}])),
        message(rows([{**NUMERIC, "value": "7"}])),
        message(rows([{**NUMERIC, "value": True}])),
        message(rows([without(NUMERIC, "value")])),
    ),
    "cell: action given": (
        message(rows([cell()], [ACTION], kind="data_table")),
        message(rows([cell()], [without(ACTION, "element")], kind="data_table")),
    ),
    "cell: kinds of action": (
        message(rows([cell()], [ACTION], kind="data_table")),
        message(rows([cell()], [{**ACTION, "element": image()}], kind="data_table")),
    ),
    "cell: fallback": (
        message(rows([cell()], [{**ACTION, "fallback": NUMERIC}], kind="data_table")),
        message(rows([cell()], [{**ACTION, "fallback": plain()}], kind="data_table")),
    ),
    "chart: segments given": (message(chart()), message(chart({"type": "pie"}))),
    "chart: series given": (
        message(chart(bar(["n"], ["a"]))),
        message(chart(without(bar(["n"], ["a"]), "series"))),
        message(chart(without(bar(["n"], ["a"]), "axis_config"))),
    ),
    "chart: each point": (
        message(chart(bar(["n"], ["a" * 20]))),
        message(chart(bar(["n"], ["a"], value="1"))),
        message(chart(bar(["n"], ["a" * 21]))),
    ),
}
