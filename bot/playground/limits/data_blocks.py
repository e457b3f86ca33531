"""The limits of `data_table` and `data_visualization`, and the checks that only they need.

Source: docs.slack.dev/reference/block-kit/blocks/data-table-block and
/data-visualization-block, as of autumn 2026.
"""

from typing import Any

from bot.playground.limits.checks import (
    Check,
    Json,
    count,
    each,
    has_duplicates,
    is_number,
    length,
    number,
    objects,
    required,
    string,
    total,
    types,
)
from bot.playground.limits.limit import HOME, MESSAGE, MODAL, SERIES_CHARTS, Limit, barred, only


def rows(table: Json) -> list[list[Any]]:
    """Return the rows of a table."""
    value = table.get("rows")
    return [row for row in value if isinstance(row, list)] if isinstance(value, list) else []


def columns(most: int) -> Check:
    """Require every row to be a list of 1 to `most` cells."""

    def check(table: Json) -> str | None:
        if isinstance(table.get("rows"), list) and len(rows(table)) < len(table["rows"]):
            return "every row must be an array of cells"
        valid = all(1 <= len(row) <= most for row in rows(table))
        return None if valid else f"rows must have from 1 to {most} cells"

    return check


def rectangle(table: Json) -> str | None:
    """Require all rows to have the same number of cells."""
    widths = {len(row) for row in rows(table)}
    return "every row must have the same number of cells" if len(widths) > 1 else None


def row_header(table: Json) -> str | None:
    """Require row_header_column_index to be the index of a column."""
    index, width = table.get("row_header_column_index", 0), max(map(len, rows(table)), default=1)
    valid = isinstance(index, int) and is_number(index) and 0 <= index < max(width, 1)
    return None if valid else "row_header_column_index must be the index of a column"


def numeric(cell: Json) -> str | None:
    """Require a raw_number's value to be a number."""
    return None if is_number(cell.get("value")) else "must be a number: value"


def characters(thing: Any) -> int:
    """Count the characters of every text inside an object."""
    if isinstance(thing, dict):
        own = len(thing["text"]) if isinstance(thing.get("text"), str) else 0
        return own + sum(characters(value) for value in thing.values())
    return sum(map(characters, thing)) if isinstance(thing, list) else 0


def segment(part: Json) -> str | None:
    """Require a pie's segment to have a positive value and a short label."""
    if not is_number(part.get("value")) or part["value"] <= 0:
        return "segment value must be more than 0"
    return None if _short(part.get("label")) else "segment label must be from 1 to 20 characters"


def series_names(chart: Json) -> str | None:
    """Require the names of series to be short and unique."""
    names = [series.get("name") for series in objects(chart.get("series"))]
    if has_duplicates(names) or not all(map(_short, names)):
        return "series names must be unique and from 1 to 20 characters"
    return None


def points(chart: Json) -> str | None:
    """Require every point of every series to have a number and a short label."""
    for series in objects(chart.get("series")):
        for point in objects(series.get("data")):
            if not is_number(point.get("value")) or not _short(point.get("label")):
                return "a point needs a number and a label from 1 to 20 characters"
    return None


def axes(chart: Json) -> Json:
    """Return the axis_config of a chart."""
    config = chart.get("axis_config")
    return config if isinstance(config, dict) else {}


def categories(chart: Json) -> str | None:
    """Require 1 to 20 categories, unique and short."""
    names = axes(chart).get("categories")
    if not isinstance(names, list) or not 1 <= len(names) <= 20 or has_duplicates(names):
        return "categories must be unique, from 1 to 20"
    return None if all(map(_short, names)) else "category must be from 1 to 20 characters"


def one_point_each(chart: Json) -> str | None:
    """Require every series to have exactly one point for each category."""
    names = axes(chart).get("categories")
    expected = sorted(map(str, names if isinstance(names, list) else []))
    for series in objects(chart.get("series")):
        if sorted(str(point.get("label")) for point in objects(series.get("data"))) != expected:
            return "every series needs exactly one point for each category"
    return None


def axis_labels(chart: Json) -> str | None:
    """Require the labels of both axes to have at most 50 characters."""
    return length("x_label", 50)(axes(chart)) or length("y_label", 50)(axes(chart))


def _short(label: Any) -> bool:
    return isinstance(label, str) and 1 <= len(label) <= 20


_TABLE, _CHART, _PIE = only("data_table"), only("data_visualization"), only("pie")
_CELLS = ("raw_text", "raw_number")

DATA_BLOCK_LIMITS: tuple[Limit, ...] = (
    barred("data_table", MODAL),
    barred("data_visualization", MODAL, HOME),
    Limit("message: charts", only(MESSAGE), total("data_visualization", 2, lambda _block: 1)),
    Limit("data_table: characters", only(MESSAGE, HOME), total("data_table", 20_000, characters)),
    Limit("data_table: parts", _TABLE, required("caption", "rows")),
    Limit("data_table: caption", _TABLE, string("caption")),
    Limit("data_table: rows", _TABLE, count("rows", 201, 2)),
    Limit("data_table: columns", _TABLE, columns(20)),
    Limit("data_table: rectangle", _TABLE, rectangle),
    Limit("data_table: types of cells", _TABLE, types("rows", _CELLS)),
    Limit("data_table: row header", _TABLE, row_header),
    Limit("data_table: page_size", _TABLE, number("page_size", 1, 100)),
    Limit("cell: text", only(*_CELLS), string("text")),
    Limit("cell: number", only("raw_number"), numeric),
    Limit("chart: parts", _CHART, required("title", "chart")),
    Limit("chart: title", _CHART, length("title", 50, 1)),
    Limit("chart: type", _CHART, types("chart", SERIES_CHARTS | _PIE)),
    Limit("pie: parts", _PIE, required("segments")),
    Limit("pie: segments", _PIE, count("segments", 12, 1)),
    Limit("pie: each segment", _PIE, each("segments", segment)),
    Limit("series chart: parts", SERIES_CHARTS, required("series", "axis_config")),
    Limit("series chart: series", SERIES_CHARTS, count("series", 12, 1)),
    Limit("series chart: names of series", SERIES_CHARTS, series_names),
    Limit("series chart: categories", SERIES_CHARTS, categories),
    Limit("series chart: points per category", SERIES_CHARTS, one_point_each),
    Limit("series chart: each point", SERIES_CHARTS, points),
    Limit("series chart: axis labels", SERIES_CHARTS, axis_labels),
)
