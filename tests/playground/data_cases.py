"""What just keeps the limits of data tables and charts; and what just breaks them."""

from tests.playground.blocks import (
    NUMBER,
    Cases,
    bar,
    cell,
    chart,
    home,
    message,
    modal,
    names,
    pie,
    plain,
    table,
    table_of,
    without,
)

DATA_CASES: Cases = {
    "data_table: surface": (home(table()), modal(table())),
    "data_visualization: surface": (message(chart()), home(chart())),
    "message: charts": (message(chart(), chart()), message(chart(), chart(), chart())),
    "data_table: characters": (
        message(table(100, 20, 10)),
        message(table(100, 20, 10), table()),
    ),
    "data_table: parts": (message(table()), message(without(table(), "caption"))),
    "data_table: caption": (
        message(table(caption="c")),
        message(table(caption="")),
        message(table(caption=plain())),
    ),
    "data_table: rows": (message(table(201)), message(table(202)), message(table(1))),
    "data_table: columns": (
        message(table(2, 20)),
        message(table(2, 21)),
        message(table(2, 0)),
        message(table_of([cell()], cell())),
    ),
    "data_table: rectangle": (
        message(table_of([cell()] * 2, [cell()] * 2)),
        message(table_of([cell()] * 2, [cell()])),
    ),
    "data_table: types of cells": (
        message(table_of([cell()] * 2, [cell(), NUMBER])),
        message(table_of([cell()], [plain()])),
        message(table_of([cell()], [{"type": "rich_text", "elements": []}])),
        message(table_of([cell()], [None])),
    ),
    "data_table: row header": (
        message(table(2, 3, row_header_column_index=2)),
        message(table(2, 3, row_header_column_index=3)),
        message(table(2, 3, row_header_column_index=-1)),
        message(table(2, 3, row_header_column_index="0")),
    ),
    "data_table: page_size": (message(table(page_size=100)), message(table(page_size=101))),
    "cell: text": (
        message(table_of([cell(1)], [NUMBER])),
        message(table_of([cell(1)], [cell(0)])),
        message(table_of([cell(1)], [{**NUMBER, "text": ""}])),
        message(table_of([cell(1)], [without(NUMBER, "text")])),
    ),
    "cell: number": (
        message(table_of([cell()], [{**NUMBER, "value": -0.5}])),
        message(table_of([cell()], [{**NUMBER, "value": "7"}])),
        message(table_of([cell()], [{**NUMBER, "value": True}])),
        message(table_of([cell()], [without(NUMBER, "value")])),
    ),
    "chart: parts": (message(chart()), message(without(chart(), "title"))),
    "chart: title": (message(chart(title=50)), message(chart(title=51))),
    "chart: type": (message(chart()), message(chart({"type": "radar"}))),
    "pie: parts": (message(chart()), message(chart({"type": "pie"}))),
    "pie: segments": (
        message(chart(pie(*[(1, 1)] * 12))),
        message(chart(pie(*[(1, 1)] * 13))),
        message(chart(pie())),
    ),
    "pie: each segment": (
        message(chart(pie((20, 0.1)))),
        message(chart(pie((1, 0)))),
        message(chart(pie((21, 1)))),
        message(chart(pie((0, 1)))),
    ),
    "series chart: parts": (
        message(chart(bar(["n"], ["a"]))),
        message(chart(without(bar(["n"], ["a"]), "series"))),
        message(chart(without(bar(["n"], ["a"]), "axis_config"))),
    ),
    "series chart: series": (
        message(chart(bar(names(12), ["a"]))),
        message(chart(bar(names(13), ["a"]))),
        message(chart(bar([], ["a"]))),
    ),
    "series chart: names of series": (
        message(chart(bar(["n" * 20], ["a"]))),
        message(chart(bar(["n" * 21], ["a"]))),
        message(chart(bar(["n", "n"], ["a"]))),
        message(chart(bar([""], ["a"]))),
    ),
    "series chart: categories": (
        message(chart(bar(["n"], names(20)))),
        message(chart(bar(["n"], names(21)))),
        message(chart(bar(["n"], []))),
        message(chart(bar(["n"], ["a", "a"]))),
        message(chart(bar(["n"], ["a" * 21]))),
    ),
    "series chart: points per category": (
        message(chart(bar(["n"], ["a", "b"]))),
        message(chart(bar(["n"], ["a", "b"], categories=["a"]))),
        message(chart(bar(["n"], ["a"], categories=["a", "b"]))),
        message(chart(bar(["n"], ["a", "a"], categories=["a"]))),
    ),
    "series chart: each point": (
        message(chart(bar(["n"], ["a" * 20]))),
        message(chart(bar(["n"], ["a"], value="1"))),
        message(chart(bar(["n"], ["a" * 21]))),
    ),
    "series chart: axis labels": (
        message(chart(bar(["n"], ["a"], x_label="x" * 50, y_label="x" * 50))),
        message(chart(bar(["n"], ["a"], x_label="x" * 51))),
        message(chart(bar(["n"], ["a"], y_label="x" * 51))),
    ),
}
