"""What describes the native API to machines (`/openapi.json`) and to people (`/docs`). Both are open to everybody.

The pages are made of the document, so they cannot say anything else. They are plain HTML with their own style: no
script, nothing from another address, readable on a phone and without the internet.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from userfold.api.native import openapi
from userfold.api.native.schemas import JSON_TYPES
from userfold.api.wire import JSON, Headers, Reply, Request, Route, Service

METHODS = ("get", "post", "put", "patch", "delete")

HTML: Headers = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

STYLE = """
:root { color-scheme: light dark; --line: #d8dee6; --soft: #f3f5f8; --ink: #1b2430; --dim: #5b6776; --link: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --line: #333d49; --soft: #1c232c; --ink: #e4e9ef; --dim: #9aa7b5; --link: #7db8f5 }
  body { background: #12171d }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--ink); font: 16px/1.55 system-ui, sans-serif }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
h1 { font-size: 1.7rem; margin: .5rem 0 0 } h2 { margin: 2.5rem 0 .5rem; font-size: 1.3rem }
h3 { margin: 0; font-size: 1.05rem } h4 { margin: 1.1rem 0 .3rem; font-size: .9rem; color: var(--dim) }
p { margin: .4rem 0 } .dim { color: var(--dim) }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
code { overflow-wrap: anywhere }
pre { background: var(--soft); padding: .7rem .8rem; border-radius: 6px; overflow-x: auto; margin: .4rem 0 }
section.operation, section.schema { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 1rem 0 }
.at { margin: .3rem 0 .5rem } .at code { font-size: .95rem }
.method { display: inline-block; min-width: 4.2rem; text-align: center; color: #fff; border-radius: 4px;
  font: 700 .75rem/1.7 ui-monospace, monospace; padding: 0 .4rem; margin-right: .4rem }
.get { background: #1f6feb } .post { background: #1a7f37 } .put, .patch { background: #9a6700 }
.delete { background: #b42318 }
dl { margin: 0 } dt { margin-top: .45rem } dd { margin: 0 0 0 1rem }
dt .dim, dt .need { font-size: .82rem } .need { color: #b42318 }
nav ul { list-style: none; margin: .3rem 0 1rem; padding: 0 } nav li { margin: .25rem 0 }
summary { cursor: pointer; padding: .15rem 0 } details { margin: .15rem 0 }
footer { margin: 3rem 0 1rem; color: var(--dim); font-size: .85rem }
"""


async def openapi_json(service: Service, request: Request) -> Reply:
    """The document, for generators of clients."""
    request.query(())
    return Reply(200, openapi.document(), (JSON, (b"access-control-allow-origin", b"*")))


async def docs(service: Service, request: Request) -> Reply:
    """The document, for people."""
    request.query(())
    return Reply(200, page(), HTML)


ROUTES = (Route("GET", "/openapi.json", openapi_json), Route("GET", "/docs", docs))


@functools.cache
def page() -> bytes:
    """The whole page: what there is, each operation, each schema, each error."""
    document = openapi.build()
    info = document["info"]
    parts = (
        f"<h1>{escape(info['title'])} API</h1>",
        f'<p class="dim">Version {escape(info["version"])} · <a href="/openapi.json">OpenAPI 3.1</a></p>',
        f"<p>{_words(info['description'])}</p>",
        "<p>Every request carries a secret key of the project: <code>Authorization: Bearer sk_…</code></p>",
        _contents(document),
        *(_group(document, tag) for tag in document["tags"]),
        _schemas(document["components"]["schemas"]),
        _errors(document["components"]["examples"]),
        f"<footer>Userfold {escape(info['version'])}, {escape(info['license']['name'])}</footer>",
    )
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
    )
    return (head + "\n".join(parts) + "</body></html>\n").encode()


def _operations(document: Mapping[str, Any], tag: str) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods and tag in methods[method]["tags"]:
                yield path, method, methods[method]


def _contents(document: Mapping[str, Any]) -> str:
    groups = []
    for tag in document["tags"]:
        lines = (
            f'<li><span class="method {method}">{method.upper()}</span>'
            f'<a href="#{operation["operationId"]}"><code>{escape(path)}</code></a> '
            f'<span class="dim">{escape(operation["summary"])}</span></li>'
            for path, method, operation in _operations(document, tag["name"])
        )
        groups.append(f"<strong>{escape(tag['name'])}</strong><ul>{''.join(lines)}</ul>")
    more = '<p><a href="#schemas">Schemas</a> · <a href="#errors">Errors</a></p>'
    return f'<nav><h2 id="contents">Operations</h2>{"".join(groups)}{more}</nav>'


def _group(document: Mapping[str, Any], tag: Mapping[str, Any]) -> str:
    operations = "".join(
        _operation(document, path, method, operation) for path, method, operation in _operations(document, tag["name"])
    )
    return f"<h2>{escape(tag['name'])}</h2><p>{_words(tag['description'])}</p>{operations}"


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = [_resolve(document, parameter) for parameter in operation["parameters"]]
    name = operation["operationId"]
    return (
        f'<section class="operation" id="{name}"><h3><a href="#{name}">{escape(operation["summary"])}</a></h3>'
        f'<p class="at"><span class="method {method}">{method.upper()}</span><code>{escape(path)}</code> '
        f'<span class="dim">{name}</span></p>'
        f"<p>{_words(operation.get('description', ''))}</p>"
        f"{_parameters(parameters)}{_body(operation.get('requestBody'))}{_replies(document, operation['responses'])}"
        "</section>"
    )


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    lines = (
        f"<dt><code>{escape(parameter['name'])}</code> "
        f'<span class="dim">{parameter["in"]}, {_type(parameter["schema"])}</span>'
        f"{_needed(parameter['required'])}</dt><dd>{_words(parameter['description'])}</dd>"
        for parameter in parameters
    )
    return f"<h4>Parameters</h4><dl>{''.join(lines)}</dl>"


def _needed(needed: bool) -> str:
    return ' <span class="need">required</span>' if needed else ""


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    lines = "".join(
        f"<details><summary><code>{escape(media_type)}</code>: {_type(media['schema']) if media else 'bytes'}</summary>"
        f"{_example(media.get('example'))}</details>"
        for media_type, media in body["content"].items()
    )
    return f"<h4>Body{_needed(body['required'])}</h4>{lines}"


def _replies(document: Mapping[str, Any], responses: Mapping[str, Any]) -> str:
    return "<h4>Replies</h4>" + "".join(_reply(document, status, reply) for status, reply in responses.items())


def _reply(document: Mapping[str, Any], status: str, reply: Mapping[str, Any]) -> str:
    media: Mapping[str, Any] = next(iter(reply.get("content", {}).values()), {})
    codes = media.get("examples", {})
    if codes:
        said = ", ".join(f'<a href="#error-{code}"><code>{code}</code></a>' for code in codes)
    else:
        said = _words(reply["description"]) + (f" {_type(media['schema'])}" if media else "")
    headers = ", ".join(f"<code>{escape(name)}</code>" for name in reply["headers"] if name != "X-Request-Id")
    said += f' <span class="dim">with {headers}</span>' if headers else ""
    return f"<p><strong>{status}</strong> {said}</p>{_example(media.get('example'))}"


def _schemas(schemas: Mapping[str, Any]) -> str:
    return '<h2 id="schemas">Schemas</h2>' + "".join(_schema(name, schema) for name, schema in schemas.items())


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    members = "".join(
        f"<dt><code>{escape(member)}</code> "
        f'<span class="dim">{_type(value)}{", read only" if value.get("readOnly") else ""}</span>'
        f"{_needed(member in needed)}</dt>"
        + (f"<dd>{_words(value['description'])}</dd>" if "description" in value else "")
        for member, value in schema.get("properties", {}).items()
    )
    whole = "" if members else f'<p class="dim">{_type(schema)}</p>{_alternatives(schema)}'
    return (
        f'<section class="schema" id="schema-{name}"><h3><a href="#schema-{name}">{name}</a></h3>'
        f"<p>{_words(schema.get('description', ''))}</p>{whole}<dl>{members}</dl></section>"
    )


def _alternatives(schema: Mapping[str, Any]) -> str:
    """Of a list of objects of several kinds, each kind in a line."""
    kinds = schema.get("items", {}).get("anyOf", ())
    lines = (
        "<li>"
        + ", ".join(f"<code>{name}</code>: {_said(value)}" for name, value in kind["properties"].items())
        + "</li>"
        for kind in kinds
        if "properties" in kind
    )
    return f"<ul>{''.join(lines)}</ul>" if kinds else ""


def _said(schema: Mapping[str, Any]) -> str:
    """A schema in a few words; of a pointer, which."""
    pattern = schema.get("pattern", "")
    if pattern.startswith("^/") and "description" not in schema:
        return f"<code>{escape(pattern)}</code>"
    return _words(schema["description"].rstrip(".")) if pattern and "description" in schema else _type(schema)


def _errors(examples: Mapping[str, Any]) -> str:
    lines = (
        f'<section class="schema" id="error-{code}"><h3><a href="#error-{code}"><code>{code}</code></a> '
        f'<span class="dim">{example["value"]["status"]}</span></h3><p>{escape(example["summary"])}</p>'
        f"{_example(example['value'])}</section>"
        for code, example in examples.items()
    )
    return f'<h2 id="errors">Errors</h2><p>Problem details (RFC 9457); <code>code</code> is stable.</p>{"".join(lines)}'


def _example(value: Any) -> str:
    return "" if value is None else f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, with links to the schemas that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    for word, between in (("anyOf", " or "), ("allOf", " and ")):
        if word in schema:
            kinds = dict.fromkeys(_type(part) for part in schema[word])
            return between.join(kind for kind in kinds if kind)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kinds = schema.get("type", "object")
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if set(kinds) == set(JSON_TYPES):
        text = "any JSON"
    if "items" in schema and "array" in text:
        text = text.replace("array", f"list of {_type(schema['items'])}")
    return text + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    said = [
        f"{words} {schema[name]}"
        for name, words in (
            ("minLength", "length ≥"),
            ("maxLength", "length ≤"),
            ("minimum", "≥"),
            ("maximum", "≤"),
            ("maxItems", "items ≤"),
        )
        if name in schema
    ]
    said += [f"default {json.dumps(schema['default'])}"] if "default" in schema else []
    return f" ({escape(', '.join(said))})" if said else ""


def _words(text: str) -> str:
    """Text with `code` in it."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _resolve(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in parameter:
        return parameter
    found: Mapping[str, Any] = document
    for name in parameter["$ref"].split("/")[1:]:
        found = found[name]
    return found
