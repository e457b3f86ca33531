"""The JSON of each endpoint, typed out from the API page.

`WIRE` is the one place that has the page's keys and types as data; the client's tests use it too.
"""

import json
import re
from typing import Any

import pytest

from .fleet import HTML, Fleet
from .serving import Served

Shape = dict[str, Any]

#: A shape is a type, "date" (YYYY-MM-DD HH:MM), a list of one shape, or an object of shapes.
DATE = "date"

SSL: Shape = {
    "date_start": DATE,
    "date_end": DATE,
    "expire_days": int,
    "issuer_cn": str,
    "issuer_c": str,
    "issuer_o": str,
    "subject_cn": str,
    "subject_c": str,
    "subject_o": str,
    "alt_names": [str],
}
HTTP: Shape = {
    "ip": str,
    "ip_rev": str,
    "ip_geo": str,
    "code": int,
    "size": int,
    "headers": [{"n": str, "v": str}],
    "html_title": str,
    "meta_description": str,
    "meta_keywords": str,
}
MONITOR: Shape = {
    "id": int,
    "host": str,
    "port": int,
    "scan_date": DATE,
    "ssl": SSL,
    "http": HTTP,
}
ROW: Shape = {
    "id": int,
    "host": str,
    "port": int,
    "ssl_valid": bool,
    "ssl_message": str,
    "ssl_color": str,
    "ssl_expire_days": int,
    "ssl_expire_date_start": DATE,
    "ssl_expire_date_end": DATE,
    "ssl_host_match": bool,
    "ssl_issuer": str,
    "http_code": int,
    "scan_date": DATE,
}
OK: Shape = {"success": int, "message": str}
ERROR: Shape = {"code": int, "message": str, "req_id": str}
WIRE: dict[str, Shape] = {
    "ping": {**OK, "date_time": DATE, "apikey_id": int},
    "account": {
        **OK,
        "id": int,
        "email": str,
        "monitor_limit": int,
        "monitor_used": int,
        "monitor_available": int,
    },
    "monitor/list": {**OK, "count": int, "list": [ROW]},
    "monitor/get": {**OK, "monitor": MONITOR},
    "monitor/add": {**OK, "monitor": MONITOR},
    "monitor/scan": {**OK, "monitor": MONITOR},
    "monitor/delete": OK,
}
#: What replies contain beyond the page; a client that knows only the page ignores it.
HANDSHAKE: Shape = dict.fromkeys(
    ("protocol", "cipher", "key", "signature", "serial", "fingerprint"), str
) | {"x25519mlkem768": bool}
CHAIN_ENTRY: Shape = {
    "subject": str,
    "issuer": str,
    "date_start": DATE,
    "date_end": DATE,
    "fingerprint": str,
}
RENEWAL: Shape = {
    "status": str, "start": DATE, "end": DATE, "explanation_url": str,
}  # fmt: skip
ADDITIONS: dict[str, Shape] = {
    "ping": {"sweep": {"monitors": int, "due": int, "lag_seconds": int}},
    "monitor/get": {
        "monitor": MONITOR
        | {
            "verdict": str,
            "chain": [CHAIN_ENTRY],
            "revocation": str,
            "caa": str,
            "handshake": HANDSHAKE,
            "renewal": RENEWAL,
        }
    },
    "monitor/list": {"list": [ROW | {"ssl_fingerprint": str, "caa_refuses": bool}]},
}
#: The fields that are null for an unreadable host; all others always have a value.
NULLABLE = {
    *SSL,
    *HTTP,
    "ssl_expire_days",
    "ssl_expire_date_start",
    "ssl_expire_date_end",
    "ssl_host_match",
    "ssl_issuer",
    "ssl_fingerprint",
    "http_code",
    "x25519mlkem768",
} - {"alt_names", "headers", "ip_rev", "ip_geo"}
#: Null for the fleet's hosts too: asyncio's servers lose the alert that is a no, and their CA is
#: not asked.
UNTOLD = {"x25519mlkem768", "start", "end"}


def faults(value: object, shape: Any, path: str = "", *, nulls: bool = False) -> list[str]:
    """How a value differs from its shape; with `nulls`, NULLABLE fields may be null."""
    if value is None and path.rpartition(".")[2] in (NULLABLE if nulls else UNTOLD):
        return []
    if isinstance(shape, dict):
        if not isinstance(value, dict) or list(value) != list(shape):
            return [f"{path}: {value!r} does not have the keys {list(shape)}"]
        each = ((f"{path}.{key}", value[key], part) for key, part in shape.items())
        return [fault for at, v, part in each for fault in faults(v, part, at, nulls=nulls)]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path}: {value!r} is not a list"]
        return [fault for v in value for fault in faults(v, shape[0], f"{path}[]", nulls=nulls)]
    if shape == DATE:
        good = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", value)
        return [] if good else [f"{path}: {value!r} is not a date"]
    return [] if type(value) is shape else [f"{path}: {value!r} is not {shape.__name__}"]


CALLS = {
    "ping": {},
    "account": {},
    "monitor/list": {},
    "monitor/get": {"id": "1"},
    "monitor/scan": {"id": "1"},
    "monitor/delete": {"id": "1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_each_reply_has_the_keys_and_types_of_the_api_page(
    fleet: Fleet, served: Served, method: str
) -> None:
    async with fleet.tls() as port:
        added = await served.call("monitor/add", method, host="fleet.test", port=str(port))
        assert faults(added.body, WIRE["monitor/add"]) == []
        for endpoint, params in CALLS.items():
            answer = await served.call(endpoint, method, **params)
            assert (answer.status, answer.type) == (200, "application/json")
            assert faults(answer.body, WIRE[endpoint] | ADDITIONS.get(endpoint, {})) == []


JSON_TYPES = {int: "integer", str: "string", bool: "boolean", DATE: "string"}


def differences(schemas: Shape, schema: Shape, shape: Any, path: str) -> list[str]:
    """How a schema of openapi.json differs from a shape, all of whose keys must be required."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if isinstance(shape, list):
        assert schema["type"] == "array"
        return differences(schemas, schema["items"], shape[0], f"{path}[]")
    if isinstance(shape, dict):
        missing = sorted(set(shape) ^ set(schema["required"]))
        each = ((schema["properties"][name], part, name) for name, part in shape.items())
        return [f"{path}: {name}" for name in missing] + [
            line
            for inner, part, name in each
            for line in differences(schemas, inner, part, f"{path}.{name}")
        ]
    nullable = shape == DATE or path.rpartition(".")[2] in NULLABLE
    value, *null = schema.get("anyOf", [schema])
    type_ = value.get("type") or JSON_TYPES[type(value["enum"][0])]
    agrees = type_ == JSON_TYPES[shape] and null == [{"type": "null"}] * nullable
    return [] if agrees else [f"{path}: {schema} is not {shape}, nullable: {nullable}"]


async def test_openapi_describes_the_replies_of_the_api_page(served: Served) -> None:
    document = json.loads(await served.text("/api/v1/openapi.json"))
    schemas = document["components"]["schemas"]
    for endpoint, shape in WIRE.items():
        for operation in document["paths"][f"/{endpoint}"].values():
            reply = operation["responses"]["200"]["content"]["application/json"]["schema"]
            whole = shape | ADDITIONS.get(endpoint, {})
            assert differences(schemas, reply, whole, endpoint) == []
    assert schemas["ErrorReply"]["required"] == list(ERROR)


async def test_the_facts_are_where_the_api_page_shows_them(fleet: Fleet, served: Served) -> None:
    async with fleet.tls() as port:
        monitor = (await served.call("monitor/add", host="fleet.test", port=str(port))).body
    row = (await served.call("monitor/list")).body
    assert row == {
        "success": 1,
        "message": "Ok",
        "count": 1,
        "list": [
            {
                "id": 1,
                "host": "fleet.test",
                "port": port,
                "ssl_valid": True,
                "ssl_message": "Valid",
                "ssl_color": "green",
                "ssl_expire_days": 90,
                "ssl_expire_date_start": "2026-10-17 12:00",
                "ssl_expire_date_end": "2027-04-15 13:00",
                "ssl_host_match": True,
                "ssl_issuer": "Fleet Trust",
                "http_code": 200,
                "scan_date": "2027-01-15 12:00",
                "ssl_fingerprint": row["list"][0]["ssl_fingerprint"],
                "caa_refuses": False,
            }
        ],
    }
    chain = (await served.call("monitor/get", id="1")).body["monitor"]["chain"]
    assert row["list"][0]["ssl_fingerprint"] == chain[0]["fingerprint"]
    assert monitor["monitor"] == {
        "id": 1,
        "host": "fleet.test",
        "port": port,
        "scan_date": "2027-01-15 12:00",
        "ssl": {
            "date_start": "2026-10-17 12:00",
            "date_end": "2027-04-15 13:00",
            "expire_days": 90,
            "issuer_cn": "Fleet Issuing CA",
            "issuer_c": "DE",
            "issuer_o": "Fleet Trust",
            "subject_cn": "fleet.test",
            "subject_c": "",
            "subject_o": "Fleet Ltd",
            "alt_names": ["fleet.test"],
        },
        "http": {
            "ip": "127.0.0.1",
            "ip_rev": "",
            "ip_geo": "",
            "code": 200,
            "size": len(HTML),
            "headers": [
                {"n": "Content-Type", "v": "text/html"},
                {"n": "Content-Length", "v": str(len(HTML))},
            ],
            "html_title": "Fleet",
            "meta_description": "a test host",
            "meta_keywords": "tls, test",
        },
    }


async def test_an_unreadable_host_keeps_the_shape_with_nulls(fleet: Fleet, served: Served) -> None:
    added = await served.call("monitor/add", host="elsewhere.test", port="443")
    listed = await served.call("monitor/list")
    assert faults(added.body, WIRE["monitor/add"], nulls=True) == []
    assert faults(listed.body, WIRE["monitor/list"] | ADDITIONS["monitor/list"], nulls=True) == []
    row = listed.body["list"][0]
    assert (row["ssl_valid"], row["ssl_color"], row["ssl_expire_days"]) == (False, "grey", None)
    assert added.body["monitor"]["ssl"]["expire_days"] is None
