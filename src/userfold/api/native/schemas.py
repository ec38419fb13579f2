"""JSON Schemas for `/openapi.json`: of the structs of the native API, and of what users' fields accept.

A schema that is of no struct says what `core.fields`, `core.identifiers` and `core.operations` do. What is valid by it
is accepted, as far as a schema can know: that an address stands in a list once, or that a bag stays within its bytes,
is said in words. Patterns use no class whose meaning differs between regular expressions (`\\s`, `\\d`, `\\w`).
"""

from __future__ import annotations

import functools
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import msgspec
import phonenumbers

from userfold.api.native.shapes import BATCH_ITEMS_MAX
from userfold.core.attributes import WITH_CHOICES
from userfold.core.fields import ADDRESSES_MAX, COUNT_MAX, TIME_MS_MAX
from userfold.core.identifiers import LENGTH_MAX
from userfold.core.operations import JSON_PATCH, OPERATIONS_MAX, POINTER_PARTS_MAX
from userfold.core.operations import OPERATIONS as ALL_OPERATIONS
from userfold.core.records import (
    BAG_BYTES_MAX,
    BAG_LEVELS_MAX,
    FIELDS,
    AttributeType,
    EmailAddress,
    Field,
    PhoneNumber,
    User,
)

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_BLANKS = "\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
EMAIL = f"^[^{_BLANKS}@]{{1,64}}@{_LABEL}(?:\\.{_LABEL})*$"
USERNAME = f"^[^{_BLANKS}]+$"
NO_NUL = "^[^\\u0000]*$"

JSON_TYPES = ("null", "boolean", "number", "string", "array", "object")

TEXT: Schema = {"type": ["string", "null"], "maxLength": LENGTH_MAX, "pattern": NO_NUL}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "Milliseconds since the Unix epoch."}
BAG_WORDS = (
    f"Any JSON object of up to {BAG_BYTES_MAX} bytes and {BAG_LEVELS_MAX} levels, itself the first; "
    "both hold for the result."
)


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": REF.format(name=name)}


def of_structs(kinds: Iterable[type[Any]]) -> dict[str, Schema]:
    """{name: schema} of these structs and all that they hold."""
    _, found = msgspec.json.schema_components(kinds, ref_template=REF)
    kinds_by_name = _structs(kinds)
    polished = {name: _polished(schema, kinds_by_name[name]) for name, schema in found.items()}
    if "AttributeInput" in polished:
        polished["AttributeInput"] = _attribute_input(polished["AttributeInput"])
    return polished


def _structs(kinds: Iterable[type[Any]]) -> dict[str, type[Any]]:
    """{name: struct} of these structs and all that they hold."""
    found: dict[str, type[Any]] = {}

    def visit(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ not in found:
                found[info.cls.__name__] = info.cls
                for field in info.fields:
                    visit(field.type)
        elif isinstance(info, msgspec.Struct):
            for name in info.__struct_fields__:
                value = getattr(info, name)
                for item in value if isinstance(value, tuple) else (value,):
                    visit(item)

    for info in msgspec.inspect.multi_type_info(kinds):
        visit(info)
    return found


def _polished(schema: Schema, kind: type[Any]) -> Schema:
    """The schema of a struct, said as exactly as its replies are: no other members, and which are always there."""
    config = kind.__struct_config__
    given = config.forbid_unknown_fields
    properties = {
        name: _property(kind, name, {k: v for k, v in value.items() if given or k != "default"})
        for name, value in schema["properties"].items()
    }
    always = [field for field in msgspec.structs.fields(kind) if field.required or not _may_be_absent(field, kind)]
    polished = {
        "type": "object",
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "properties": properties,
        "additionalProperties": False,
    }
    required = schema["required"] if given else [field.encode_name for field in always]
    return polished | ({"required": required} if required else {})


def _attribute_input(schema: Schema) -> Schema:
    """Those types that have choices need some; the others take none."""
    others = [name for name in get_args(AttributeType) if name not in WITH_CHOICES]
    return schema | {
        "anyOf": [
            {
                "properties": {"type": {"enum": sorted(WITH_CHOICES)}, "choices": {"type": "array", "minItems": 1}},
                "required": ["choices"],
            },
            {"properties": {"type": {"enum": others}, "choices": {"type": "array", "maxItems": 0}}},
        ]
    }


def _may_be_absent(field: msgspec.structs.FieldInfo, kind: type[Any]) -> bool:
    return field.default is msgspec.UNSET or kind.__struct_config__.omit_defaults


def _property(kind: type[Any], name: str, schema: Schema) -> Schema:
    """The schema of one member. What a struct says by `Any` is any JSON value, and by `dict` an open object."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    of_user = issubclass(kind, User) and FIELDS.get(name, Field("", "")).kind == "bag"
    if of_user or name in ("properties", "metadata", "integrations"):
        return ref("Bag")
    if "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
        (other,) = (part for part in schema["anyOf"] if part != {"type": "null"})
        if "type" in other:
            rest = {k: v for k, v in schema.items() if k != "anyOf"}
            schema = other | {"type": [other["type"], "null"]} | rest
    if name.endswith("_at") or name == "at":
        schema = TIME | {"type": schema["type"]} if schema.get("minimum") is None and name != "at" else schema
    if name == "version":
        return schema | {"minimum": 1}
    if schema.get("type") == "array" and "items" not in schema:
        return schema | {"items": ref("Json")}
    return schema or ref("Json")


# What is not of one struct.


def basic() -> dict[str, Schema]:
    """{name: schema} of any JSON value and of a bag."""
    return {
        "Json": {"type": list(JSON_TYPES), "description": "Any JSON value."},
        "Bag": {"type": "object", "additionalProperties": True, "description": BAG_WORDS},
    }


def of_documents() -> dict[str, Schema]:
    """{name: schema} of the documents and operations by which users are written."""
    writable = {name: _writable(name, field) for name, field in FIELDS.items() if field.writer != "system"}
    kept = {name: _kept(name) for name in (*(n for n, f in FIELDS.items() if f.writer == "system"), *_ADDED)}
    upsert = writable | {"external_id": {"type": ["string", "null"], "readOnly": True, "description": _NAMED}}
    return {
        "UserInput": _document("Fields of a user; what is not given stays, or is empty.", writable | kept),
        "UserUpsert": _document("Fields of a user that its external_id names.", upsert | kept),
        "Email": _EMAIL,
        "Phone": {"type": "string", "pattern": phone_pattern(), "description": _PHONE_WORDS},
        "EmailAddressInput": _address(EmailAddress, "email_address", ref("Email")),
        "PhoneNumberInput": _address(PhoneNumber, "phone_number", ref("Phone")),
        "JsonPatch": _operations(JSON_PATCH, "A JSON Patch (RFC 6902). " + _OPERATION_WORDS),
        "Operations": _operations(tuple(ALL_OPERATIONS), "Those of JSON Patch, and ten more. " + _OPERATION_WORDS),
        "BatchItem": {"anyOf": [ref(f"{action}Item") for action in ("Create", "Update", "Upsert", "Delete")]}
        | {"description": "One write of a user."},
        "BatchItems": {"type": "array", "maxItems": BATCH_ITEMS_MAX, "items": ref("BatchItem")}
        | {"description": "Writes of users, in the order in which they are to be done."},
    }


_OPERATION_WORDS = (
    "All or nothing. What is described is taken; a move or a copy from elsewhere is taken too, if what it brings fits."
)
_ADDED = ("changes", "ignored")  # what replies add to a user
_NAMED = "The path names it."
_EMAIL: Schema = {
    "type": "string",
    "maxLength": LENGTH_MAX,
    "pattern": EMAIL,
    "description": "Kept in lower case. A domain in Unicode is taken too, and kept as an A-label (RFC 5890).",
}
_PHONE_WORDS = "E.164, of a length that exists in that country. Blanks and `-.()/` between the digits are taken too."
_KEPT_WORDS = "Kept by Userfold. A document that was read may be sent back whole, with this as it was."


def _document(description: str, properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "description": description, "properties": properties, "additionalProperties": False}


def _kept(name: str) -> Schema:
    return {"readOnly": True, "type": list(JSON_TYPES), "description": _KEPT_WORDS}


def _writable(name: str, field: Field) -> Schema:
    """What `core.fields.CHECKS` accepts for a kind of field."""
    match field.kind:
        case "text" | "contact_email":
            return TEXT
        case "external_id":
            return TEXT | {"minLength": 1}
        case "username":
            return TEXT | {"minLength": 1, "pattern": USERNAME}
        case "flag":
            return {"type": ["boolean", "null"], "description": "null is false."}
        case "permission":
            return {"type": ["boolean", "null"], "description": "null is true."}
        case "time":
            return _integer_up_to(TIME_MS_MAX) | {"description": "Milliseconds since the Unix epoch."}
        case "count":
            return _integer_up_to(COUNT_MAX)
        case "choice":
            return {"enum": [*field.choices, None], "description": f"null is {field.choices[0]}."}
        case "bag":
            return {"type": ["object", "null"], "additionalProperties": True, "description": BAG_WORDS}
        case "email_addresses":
            return _list_of("Email", "EmailAddressInput")
        case "phone_numbers":
            return _list_of("Phone", "PhoneNumberInput")
    raise AssertionError(f"no schema for {name}: {field.kind}")


def _integer_up_to(maximum: int) -> Schema:
    return {"type": ["integer", "null"], "minimum": 0, "maximum": maximum}


def _list_of(text: str, address: str) -> Schema:
    return {
        "type": ["array", "null"],
        "maxItems": ADDRESSES_MAX,
        "items": {"anyOf": [ref(text), ref(address)]},
        "uniqueItems": True,
        "contains": {"type": "object", "properties": {"primary": {"const": True}}, "required": ["primary"]},
        "minContains": 0,
        "maxContains": 1,
        "description": "The whole list. Each address stands in it once, and one at most says that it is primary.",
    }


def _address(kind: type[Any], value_name: str, value: Schema) -> Schema:
    kept = {name: _kept(name) for name in kind.__struct_fields__ if name in ("id", "created_at", "updated_at")}
    flags = {name: {"type": "boolean"} for name in ("verified", "primary")}
    document = _document("An address, as a list of them takes it.", {value_name: value} | flags | kept)
    return document | {"required": [value_name]}


@functools.cache
def phone_pattern() -> str:
    """Numbers in E.164 that are as long as their country's may be."""
    codes: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        world = regions[0] == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY
        of = phonenumbers.PhoneMetadata
        found = of.metadata_for_nongeo_region(code) if world else of.metadata_for_region(regions[0])
        assert found is not None and found.general_desc is not None, "the library knows every code that it lists"
        codes[tuple(sorted(found.general_desc.possible_length))].append(code)
    parts = [
        f"(?:{'|'.join(map(str, numbers))})(?:{'|'.join(f'[0-9]{{{length}}}' for length in lengths)})"
        for lengths, numbers in codes.items()
    ]
    return f"^\\+(?:{'|'.join(parts)})$"


# Operations.


def _named(*kinds: str) -> tuple[str, ...]:
    """The fields of these kinds that can be written."""
    return tuple(name for name, field in FIELDS.items() if field.kind in kinds and field.writer != "system")


_BAGS, _TEXTS = _named("bag"), _named("text", "contact_email")
_LISTS = {"email_addresses": "EmailAddressInput", "phone_numbers": "PhoneNumberInput"}
# Fields that take the same values, so that each value is said once.
_ALIKE = (
    _TEXTS,
    _BAGS,
    _named("flag"),
    *((name,) for kind in ("external_id", "username", "choice") for name in _named(kind)),
)
_WRITABLE = tuple(name for name, field in FIELDS.items() if field.writer != "system")

_PART = "(?:[^/~]|~[01])*"
_INDEX = "(?:0|[1-9][0-9]?)"
_IN_A_BAG: Schema = {
    "type": "string",
    "pattern": f"^/(?:{'|'.join(_BAGS)})(?:/{_PART}){{1,{BAG_LEVELS_MAX - 1}}}$",
    "description": "A JSON Pointer (RFC 6901) into a bag.",
}
_ANYWHERE: Schema = {
    "type": "string",
    "pattern": f"^(?:/{_PART}){{0,{POINTER_PARTS_MAX}}}$",
    "description": "A JSON Pointer (RFC 6901) to anything in the user.",
}
_SETTING = ("add", "replace", "test", "set", "set_once", "merge")
_REMOVING = ("remove", "unset")
_NUMBER: Schema = {"type": "number"}


def _operations(known: Sequence[str], description: str) -> Schema:
    """A list of operations of these names."""
    some = [*_on_bags(), *_on_fields(), *_on_lists(), *_on_all()]
    items = [schema for names, members in some for schema in _operation(names, known, members)]
    return {"type": "array", "description": description, "maxItems": OPERATIONS_MAX, "items": {"anyOf": items}}


Some = tuple[Sequence[str], dict[str, Schema]]  # names of operations that take the same members


def _operation(names: Sequence[str], known: Sequence[str], members: dict[str, Schema]) -> Iterator[Schema]:
    """The operations of these names, as far as they are known.

    What they do not know, the six of RFC 6902 pass over (4), and ours refuse.
    """
    for open_ in (True, False):
        taken = [name for name in names if name in known and (name in JSON_PATCH) == open_]
        if taken:
            yield {
                "type": "object",
                "properties": {"op": {"enum": taken}, **members},
                "required": ["op", *(name for name in members if name != "by")],
                "additionalProperties": open_,
            }


def _on_bags() -> Iterator[Some]:
    value, values = ref("Json"), {"type": "array", "items": ref("Json")}
    yield _SETTING, {"path": _IN_A_BAG, "value": value}
    yield _REMOVING, {"path": _IN_A_BAG}
    yield ("move",), {"from": _IN_A_BAG, "path": _IN_A_BAG}
    yield ("copy",), {"from": _ANYWHERE, "path": _IN_A_BAG}
    yield ("increment",), {"path": _IN_A_BAG, "by": {**_NUMBER, "description": "1 unless it is given."}}
    yield ("min", "max"), {"path": _IN_A_BAG, "value": _NUMBER}
    yield ("append", "union", "pull"), {"path": _IN_A_BAG, "value": value}
    yield ("append", "union", "pull"), {"path": _IN_A_BAG, "values": values}


def _on_fields() -> Iterator[Some]:
    for names in _ALIKE:
        yield _SETTING, {"path": _pointers(names), "value": _writable(names[0], FIELDS[names[0]])}
        yield ("move", "copy"), {"from": _pointers(names), "path": _pointers(names)}
    yield ("move",), {"from": _pointers(name for name in _WRITABLE if name not in _BAGS), "path": _IN_A_BAG}
    yield _REMOVING, {"path": _pointers(_WRITABLE)}


def _on_lists() -> Iterator[Some]:
    for name, address in _LISTS.items():
        yield _SETTING, {"path": _pointers([name]), "value": _writable(name, FIELDS[name])}
        yield ("move", "copy"), {"from": _pointers([name]), "path": _pointers([name])}
        yield ("add",), {"path": {"type": "string", "pattern": f"^/{name}/(?:-|{_INDEX})$"}, "value": ref(address)}
        yield ("replace", "test", "set"), {"path": _in(name, ""), "value": ref(address)}
        flag = {"type": "boolean"}
        yield ("add", "replace", "test", "set"), {"path": _in(name, "/(?:verified|primary)"), "value": flag}
        yield _REMOVING, {"path": _in(name, "")}


def _on_all() -> Iterator[Some]:
    properties = {name: _writable(name, FIELDS[name]) for name in _WRITABLE}
    value = _document("All fields of the user that can be written.", properties)
    yield _SETTING, {"path": {"const": ""}, "value": value}
    yield ("move", "copy"), {"from": {"const": ""}, "path": {"const": ""}}
    yield _REMOVING, {"path": {"const": ""}}


def _pointers(names: Iterable[str]) -> Schema:
    return {"enum": [f"/{name}" for name in names]}


def _in(name: str, rest: str) -> Schema:
    return {"type": "string", "pattern": f"^/{name}/{_INDEX}{rest}$"}
