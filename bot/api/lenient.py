"""Decodes JSON leniently: a field of an unexpected type is dropped, and the rest is kept."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T")


def read_leniently(raw: Any, kind: type[T]) -> T:
    """Convert `raw`, decoded already or still a `msgspec.Raw`, to the struct `kind`.

    Optional fields of a wrong type get their defaults, and list items that don't fit are left out.
    Raises ValueError if a required field is missing or wrong.
    """
    if isinstance(raw, msgspec.Raw):
        try:
            return msgspec.json.decode(raw, type=kind, strict=False)
        except ValueError:
            raw = msgspec.json.decode(bytes(raw).decode("utf-8", "replace"))
    result: T = _forgiving(raw, kind)
    return result


def _forgiving(value: Any, kind: Any) -> Any:
    """Convert `value` to `kind`; what doesn't fit is left out, and the rest is kept."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        plain = next((k for k in get_args(kind) if k is not NoneType), kind)
        if isinstance(value, Mapping) and isinstance(plain, type):
            return _forgiving_fields(value, plain)
        if isinstance(value, Sequence) and get_origin(plain) is list:
            return _forgiving_items(value, get_args(plain)[0])
        raise


def _forgiving_fields(value: Mapping[str, Any], kind: type) -> Any:
    if not issubclass(kind, msgspec.Struct):
        raise msgspec.ValidationError(f"Expected {kind.__name__}, got an object")
    kept: dict[str, Any] = {}
    for info in msgspec.structs.fields(kind):
        if info.required:
            kept[info.name] = msgspec.convert(value.get(info.name), info.type, strict=False)
        elif info.name in value:
            with suppress(msgspec.ValidationError):
                kept[info.name] = _forgiving(value[info.name], info.type)
    return kind(**kept)


def _forgiving_items(values: Sequence[Any], kind: Any) -> list[Any]:
    kept = []
    for value in values:
        with suppress(msgspec.ValidationError):
            kept.append(_forgiving(value, kind))
    return kept
