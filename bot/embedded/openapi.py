"""The OpenAPI 3.1 description of the API, generated from its table of endpoints."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bot.embedded.params import APIParameter
from bot.embedded.wire import ErrorReply, Success

JSON = dict[str, Any]

_ABOUT = (
    "The endpoints of the SSLmonitor API. Beyond those this server has `monitor/history`, "
    "`monitor/changes`, `monitor/expect` and `checks`, `limit` and `offset` of monitor/list, "
    "`chain` and `verdict` of monitor/get, `protocol` of monitor/add, and `sweep` of ping. Every "
    "reply is JSON; an error has `code`, `message` and `req_id`."
)
_LIMITED = "The key is good for another endpoint only"
_RETRY_AFTER = {"description": "Seconds to wait before you retry", "schema": {"type": "integer"}}


@dataclass(frozen=True)
class Operation:
    """What an endpoint does, takes and returns.

    `errors` describes each error status by its number, without those that all endpoints share: 401,
    403, and 400 for a parameter that can't be read.
    """

    path: str
    summary: str
    description: str
    reply: type[Success]
    params: tuple[APIParameter, ...] = ()
    errors: Mapping[int, str] = field(default_factory=dict)


def describe(operations: Iterable[Operation], prefix: str) -> JSON:
    """The OpenAPI document of these operations, served below `prefix`."""
    operations = tuple(operations)
    _, schemas = msgspec.json.schema_components(
        [ErrorReply, *(each.reply for each in operations)],
        ref_template="#/components/schemas/{name}",
    )
    for schema in schemas.values():
        _require_defaults(schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "SSLmonitor API, embedded", "version": "1", "description": _ABOUT},
        "servers": [{"url": prefix}],
        "security": [{"key": []}],
        "paths": {f"/{each.path}": {"get": _get(each), "post": _post(each)} for each in operations},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _require_defaults(schema: JSON) -> None:
    """List fields with a default as required: msgspec may miss them in input, but encodes them."""
    for name, value in schema["properties"].items():
        if "default" in value:
            del value["default"]
            schema["required"].append(name)


def _get(operation: Operation) -> JSON:
    parameters = [
        {
            "name": each.name,
            "in": "query",
            "required": each.required,
            "description": each.description,
            "schema": each.schema,
        }
        for each in operation.params
    ]
    return {**_operation(operation, "get"), "parameters": parameters}


def _post(operation: Operation) -> JSON:
    described = _operation(operation, "post")
    described["description"] += " The parameters may be sent as a form."
    if operation.params:
        required = [each.name for each in operation.params if each.required]
        schema = {
            "type": "object",
            "properties": {
                each.name: {**each.schema, "description": each.description}
                for each in operation.params
            },
            "required": required,
        }
        described["requestBody"] = {
            "content": {"application/x-www-form-urlencoded": {"schema": schema}},
            "required": bool(required),
        }
    return described


def _operation(operation: Operation, method: str) -> JSON:
    words = operation.path.replace("/", " ").title().replace(" ", "")
    return {
        "operationId": method + words,
        "summary": operation.summary,
        "description": operation.description,
        "responses": _responses(operation, has_form=method == "post"),
    }


def _responses(operation: Operation, *, has_form: bool) -> JSON:
    errors = {401: "The API key is missing or wrong", 403: _LIMITED} | {**operation.errors}
    if operation.params:
        errors[400] = "A parameter is missing or invalid"
    elif has_form:
        errors[400] = "The form can't be read"
    responses = {"200": _response("Done", operation.reply)}
    for status in sorted(errors):
        responses[str(status)] = _response(errors[status], ErrorReply)
    if 429 in errors:
        responses["429"]["headers"] = {"Retry-After": _RETRY_AFTER}
    return responses


def _response(description: str, body: type[msgspec.Struct]) -> JSON:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
