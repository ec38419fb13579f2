"""Calls of Clerk's own SDKs, as data: a function, its arguments, and what must come of it.

Both SDKs are called in the same way, `sdk.call("users.get", {"user_id": …})`. What comes of a call is a value of the
SDK's own (`Is` says of which class, and what of it matters), or `Refused`. In arguments and outcomes `{user}` stands
for the id of a user who is there; `People` says who else is.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import clerk_backend_api
import httpx
import pyotp
import pytest
from clerk_backend_api import models

from tests.api.pictures import picture
from tests.server import BOUND_S, environment

NODE_FOLDER = Path(__file__).parents[3] / "node"

# "correct horse", by bcrypt with the least cost, so that a user with a password is made quickly.
DIGEST = "$2b$04$JfUj.VHR58ATmZ7lXg7k4.TAAdyoTqVavtGj0bBA1ueCb4tZj1cVS"

TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
BACKUP_CODES = ["first-code", "second-code"]


class Is:
    """A value of a class of the SDK's. Only the fields that are named are looked at."""

    def __init__(self, type: str, /, **fields: Any) -> None:
        self.type = type
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Is) and (self.type, self.fields) == (other.type, other.fields)

    def __repr__(self) -> str:
        return f"{self.type}({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"


@dataclass(frozen=True)
class Refused:
    """What the SDK throws: its class, and what can be read from it. `error`: None is the SDK's usual one."""

    status: int
    code: str
    param_name: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Call:
    """A line of a table: what is called, and what must come of it."""

    function: str
    arguments: Any
    outcome: Any

    @property
    def id(self) -> str:
        """The function and what comes of it, which is the name of a test."""
        said = f"{self.outcome.status}-{self.outcome.code}" if isinstance(self.outcome, Refused) else "ok"
        return f"{self.function}-{said}"


class Sdk(Protocol):
    """A vendor's own client with a server's key."""

    def call(self, function: str, arguments: Any) -> Any:
        """What the SDK returned, or the `Refused` that it threw."""

    def functions(self) -> set[str]:
        """All that it has for users, their addresses and their sessions."""


def came_and_wanted(sdk: Sdk, call: Call, people: People) -> tuple[Any, Any]:
    """What comes of a call, as far as it is said what must; and that."""
    wanted = people.named(call.outcome)
    came = sdk.call(call.function, people.named(call.arguments))
    return part(came, wanted), wanted


def part(value: Any, like: Any) -> Any:
    """`value`, of each of the SDK's objects only the class and those fields that `like` names."""
    if isinstance(like, Is):
        fields = {name: part(field_of(value, name), wanted) for name, wanted in like.fields.items()}
        return Is(type_of(value), **fields)
    if isinstance(like, list) and isinstance(value, list) and len(like) == len(value):
        return [part(item, wanted) for item, wanted in zip(value, like, strict=True)]
    if isinstance(like, dict) and isinstance(value, dict):
        return {name: part(item, like.get(name)) for name, item in value.items()}
    return value


def type_of(value: Any) -> str:
    """The class of the SDK's of which a value is."""
    return str(value.get("$type", "dict")) if isinstance(value, dict) else type(value).__name__


def field_of(value: Any, name: str) -> Any:
    return value.get(name, f"no {name}") if isinstance(value, dict) else getattr(value, name, f"no {name}")


def undefined(value: Any) -> Iterator[str]:
    """The fields of JavaScript's SDK that have no value, by their class."""
    for item in value if isinstance(value, list) else []:
        yield from undefined(item)
    for name, item in value.items() if isinstance(value, dict) else ():
        if item == {"$undefined": True}:
            yield f"{type_of(value)}.{name}"
        yield from undefined(item)


# Who is there.

_NUMBERS = itertools.count()
_NAME = re.compile(r"\{(\w+)\}")


class People:
    """Who is there for one test, and known to no other. Each is made when somebody first asks for it.

    * `user` has two email addresses, `email` and `second_email`, two phone numbers, `phone` and `second_phone`, a
      password and all kinds of metadata; one may have signed in, with a `session` at `client`
    * `other` has the names `taken_email`, `taken_number` and `taken_username`, which may be written in other ways
    * `only_email` is all by which its owner can be named
    * `guarded` has a TOTP secret, whose code of now is `totp_code`, and `BACKUP_CODES`
    * `banned` is, and `pictured` has a picture

    `n` is a number that belongs to this test alone, and `free_number` the number of a phone that nobody has.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        number = next(_NUMBERS)
        self._ids = {"n": str(number), "free_number": f"+4420797{number:05}"}

    def named(self, value: Any) -> Any:
        """`value` with the names replaced by ids."""
        if isinstance(value, str):
            return _NAME.sub(lambda name: self[name[1]], value)
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if isinstance(value, dict):
            return {name: self.named(item) for name, item in value.items()}
        if isinstance(value, Is):
            return Is(value.type, **self.named(value.fields))
        return value

    def __getitem__(self, name: str) -> str:
        """The id that a name stands for."""
        if name not in self._ids:
            self._ids |= self._made(name)
        return self._ids[name]

    def _made(self, name: str) -> dict[str, str]:
        n = self["n"]
        match name:
            case "user" | "email" | "second_email" | "phone" | "second_phone":
                return self._user()
            case "session" | "client":
                session = self._post("sessions", user_id=self["user"])
                return {"session": session["id"], "client": session["client_id"]}
            case "other" | "taken_email" | "taken_number" | "taken_username":
                return self._other()
            case "only_email":
                return _id(
                    "only_email", self._post("users", email_address=[f"lone{n}@example.com"])["email_addresses"][0]
                )
            case "banned":
                return _id("banned", self._post("users", banned=True))
            case "guarded" | "totp_code":
                user = self._post("users", totp_secret=TOTP_SECRET, backup_codes=BACKUP_CODES)
                return _id("guarded", user) | {"totp_code": pyotp.TOTP(TOTP_SECRET).now()}
            case "pictured":
                user = self._post("users")
                path = f"/clerk/v1/users/{user['id']}/profile_image"
                self._client.post(path, files={"file": picture("PNG")}).raise_for_status()
                return _id("pictured", user)
        raise AssertionError(f"there is no {name}")

    def _user(self) -> dict[str, str]:
        n = int(self["n"])
        user = self._post(
            "users",
            external_id=f"ext-{n}",
            username=f"ada_{n}",
            first_name="Ada",
            last_name="Lovelace",
            email_address=[f"ada{n}@example.com", f"second{n}@example.com"],
            phone_number=[f"+4420794{n:05}", f"+4420795{n:05}"],
            public_metadata={"plan": "free", "prefs": {"theme": "light", "lang": "en"}},
            private_metadata={"stripeId": "cus_1"},
            unsafe_metadata={"step": 1},
            password_hasher="bcrypt",
            password_digest=DIGEST,
        )
        email, second_email = user["email_addresses"]
        phone, second_phone = user["phone_numbers"]
        return {
            **_id("user", user),
            **_id("email", email),
            **_id("second_email", second_email),
            **_id("phone", phone),
            **_id("second_phone", second_phone),
        }

    def _other(self) -> dict[str, str]:
        n = int(self["n"])
        number = f"+4420796{n:05}"
        user = self._post(
            "users", email_address=[f"taken{n}@example.com"], phone_number=[number], username=f"taken_{n}"
        )
        taken = {"taken_email": f"Taken{n}@Example.com", "taken_number": number, "taken_username": f"TAKEN_{n}"}
        return _id("other", user) | taken

    def _post(self, path: str, **parameters: Any) -> dict[str, Any]:
        reply = self._client.post(f"/clerk/v1/{path}", json=parameters)
        assert reply.status_code == 200, reply.text
        made: dict[str, Any] = reply.json()
        return made


def _id(name: str, made: dict[str, Any]) -> dict[str, str]:
    return {name: made["id"]}


# PyPI's clerk-backend-api.


@dataclass(frozen=True)
class PythonSdk:
    """Functions are called by keywords; `$request` is the one parameter of those that take a whole request."""

    clerk: clerk_backend_api.Clerk

    def call(self, function: str, arguments: Any) -> Any:
        section, name = function.split(".")
        try:
            return getattr(getattr(self.clerk, section), name)(**arguments)
        except models.ClerkErrors as error:
            (first,) = error.data.errors
            assert first.message
            assert first.long_message
            return Refused(error.status_code, first.code, (first.meta or {}).get("param_name"), "ClerkErrors")
        except models.SDKError as error:
            # What this function does not expect is not parsed, and the caller has to read the text.
            (raw,) = json.loads(error.body)["errors"]
            return Refused(error.status_code, raw["code"], raw["meta"].get("param_name"), "SDKError")

    def functions(self) -> set[str]:
        return {
            f"{section}.{name}"
            for section in ("users", "email_addresses", "phone_numbers", "sessions")
            for name, member in vars(type(getattr(self.clerk, section))).items()
            if callable(member) and not name.startswith("_") and not name.endswith("_async")
        }


@contextmanager
def python_sdk(url: str, secret_key: str) -> Iterator[PythonSdk]:
    """The SDK. It does not repeat what failed: it would for an hour, and a test is to see the failure."""
    with (
        httpx.Client(trust_env=False, follow_redirects=True, timeout=BOUND_S) as client,
        clerk_backend_api.Clerk(
            bearer_auth=secret_key, server_url=f"{url}/clerk/v1", client=client, retry_config=None
        ) as clerk,
    ):
        yield PythonSdk(clerk)


# npm's @clerk/backend.


@dataclass
class JavaScriptSdk:
    """The SDK in a process of its own, `tests/node/driver.mjs`. Arguments are a list."""

    process: subprocess.Popen[str]
    error_log: Path

    def call(self, function: str, arguments: Any) -> Any:
        outcome = self._ask({"function": function, "arguments": arguments})
        if "answer" in outcome:
            return outcome["answer"]
        refusal = outcome["refusal"]
        assert refusal["name"] == "ClerkAPIResponseError", refusal
        assert refusal["clerkTraceId"]
        (first,) = refusal["errors"]
        assert first["message"]
        assert first["longMessage"]
        return Refused(refusal["status"], first["code"], (first["meta"] or {}).get("paramName"))

    def functions(self) -> set[str]:
        return set(self._ask({"function": "functions"})["answer"])

    def _ask(self, call: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver ended:\n{self.error_log.read_text()}"
        return json.loads(line)


def javascript(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of `tests/node`. Skips the test where it cannot run."""
    need_javascript()
    return ["node", str(NODE_FOLDER / script), *arguments]


def need_javascript() -> None:
    """Skip the test where the SDK cannot run."""
    reason = _missing()
    if reason is not None:
        # Under CI a test that cannot run is a failure, not a skip.
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)


def javascript_environment() -> dict[str, str]:
    """What a developer's shell has set for Clerk must not reach the SDK."""
    return {name: value for name, value in environment().items() if not name.startswith("CLERK_")}


def start_javascript(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A script that has been started."""
    return subprocess.Popen(
        javascript(script, *arguments),
        env=javascript_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def output(process: subprocess.Popen[str]) -> Any:
    """The JSON that a script prints; it fails if one of the script's assertions does."""
    try:
        printed, errors = process.communicate(timeout=BOUND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, printed + errors
    return json.loads(printed)


def run_javascript(script: str, *arguments: str) -> Any:
    """The JSON that a script prints."""
    return output(start_javascript(script, *arguments))


def _missing() -> str | None:
    if shutil.which("node") is None:
        return "there is no Node.js"
    if not (NODE_FOLDER / "node_modules" / "@clerk" / "backend").is_dir():
        return f"@clerk/backend is not installed in {NODE_FOLDER} (make test does that)"
    return None


@contextmanager
def javascript_sdk(url: str, secret_key: str, folder: Path) -> Iterator[JavaScriptSdk]:
    """The SDK; its process is told that there is no more to do, and must end well."""
    error_log = folder / "driver.log"
    with (
        error_log.open("w") as errors,
        subprocess.Popen(
            javascript("driver.mjs", f"{url}/clerk", secret_key),
            env=javascript_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        ) as process,
    ):
        yield JavaScriptSdk(process, error_log)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(BOUND_S) == 0, error_log.read_text()
