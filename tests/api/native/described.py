"""What `/openapi.json` promises of a reply, and whether the reply keeps it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import jsonschema_rs

from userfold.api.native import openapi, wire

METHODS = ("get", "put", "post", "delete", "patch")


@functools.cache
def document() -> dict[str, Any]:
    """The document as a client reads it."""
    read: dict[str, Any] = json.loads(openapi.document())
    return read


def resolved(node: Any) -> Any:
    """`node`, or what its reference leads to."""
    while isinstance(node, dict) and "$ref" in node:
        found: Any = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of all."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield path, method, operation


@functools.cache
def patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """(what matches a path that was sent, the path in the document), those without names first."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return tuple((re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths)


def operation_of(request: httpx.Request) -> dict[str, Any] | None:
    """The operation that a request is for, or None if the document has none."""
    sent = request.url.raw_path.decode("latin-1").partition("?")[0]
    path = next((path for pattern, path in patterns() if pattern.fullmatch(sent)), "")
    method = "get" if request.method == "HEAD" else request.method.lower()
    found: dict[str, Any] | None = document()["paths"].get(path, {}).get(method)
    return found


@functools.cache
def validator(text: str) -> jsonschema_rs.Draft202012Validator:
    """Of a schema, given as text, that may name components of the document."""
    schema: Mapping[str, Any] = json.loads(text)
    return jsonschema_rs.Draft202012Validator({**schema, "components": document()["components"]})


def faults(schema: Any, value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    found = validator(json.dumps(schema)).iter_errors(value)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}"[:300] for error in found]


def broken_promises(request: httpx.Request, reply: httpx.Response) -> list[str]:
    """In what the reply is not what the document says of it; nothing if it says nothing of that request."""
    operation = operation_of(request)
    if operation is None:
        return []
    described = operation["responses"].get(str(reply.status_code))
    if described is None:
        return [f"{operation['operationId']} answered {reply.status_code}, which is not documented"]
    found = [fault for name, header in described["headers"].items() for fault in _header_faults(reply, name, header)]
    content = described.get("content")
    if content is None:
        return found + (["a body that is not documented"] if reply.content else [])
    media_type = reply.headers.get("content-type", "")
    if media_type not in content:
        return [*found, f"the content type {media_type}"]
    schema = content[media_type]["schema"]
    texts = reply.content.splitlines() if media_type in wire.NDJSON else [reply.content]
    values = [] if request.method == "HEAD" else map(json.loads, texts)
    return found + [fault for value in values for fault in faults(schema, value)]


def _header_faults(reply: httpx.Response, name: str, header: Any) -> list[str]:
    if name not in reply.headers:
        return [f"no header {name}"]
    schema, text = resolved(header)["schema"], reply.headers[name]
    return [f"{name}: {fault}" for fault in faults(schema, int(text) if schema.get("type") == "integer" else text)]
