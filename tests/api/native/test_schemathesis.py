"""A stranger's opinion: schemathesis, in its default settings, asks a real server all that `/openapi.json` lets it ask.

As a backend and as nobody: no 5xx, nothing that is not documented, what the document allows is accepted, and what it
forbids is refused. Here with few examples and one seed, so that it always asks the same; by hand, with many:

    .venv/bin/schemathesis run http://127.0.0.1:8787/openapi.json -H "Authorization: Bearer $KEY" -n 1000
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.server import Server, serving

pytestmark = pytest.mark.timeout(600)

CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
}


class Failure(NamedTuple):
    """A check that failed, of an answer."""

    check: str
    operation: str
    status: int
    told: str


def is_impossible(failure: Failure) -> bool:
    """Whether no API that has such routes could pass; the reasons are in docs/decisions/0011."""
    match failure:
        case Failure("positive_data_acceptance" | "negative_data_rejection", _, 412, _):
            return True
        case Failure("positive_data_acceptance", "PATCH /v1/attributes/{id}", 422, told) if "choices" in told:
            return True
        case Failure("positive_data_acceptance", "PUT /v1/users/{id}/image", 422, _):
            return True
        case Failure("positive_data_acceptance", "POST /v1/project/keys", 422, told) if '"public_key"' in told:
            return True
        case Failure("negative_data_rejection", "POST /v1/batch", 200 | 413, _):
            return True
        case Failure("use_after_free", "GET /v1/users/{id}/sessions" | "GET /v1/sessions/{id}", 200, _):
            return True
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("schemathesis") / "data") as server:
        yield server


def asked(server: Server, folder: Path, who: str, *options: str) -> tuple[Counter[str], list[Failure]]:
    """How often each check was made, and what failed."""
    report = folder / "report.ndjson"
    key = ["-H", f"Authorization: Bearer {server.secret_key}"] if who == "a backend" else []
    program = str(Path(sys.executable).with_name("schemathesis"))
    always = ("--seed", "1", "--continue-on-failure", "--report", "ndjson", "--report-ndjson-path", str(report))
    said = subprocess.run(
        [program, "run", f"{server.url}/openapi.json", *key, *always, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: something failed, and that is looked at here; anything else is schemathesis' own trouble.
    assert said.returncode in (0, 1), said.stdout + said.stderr
    assert "Errors:" not in said.stdout, said.stdout
    made: Counter[str] = Counter()
    failed: list[Failure] = []
    for line in report.read_text().splitlines():
        event = json.loads(line)
        for recorder in [event["ScenarioFinished"]["recorder"]] if "ScenarioFinished" in event else []:
            made.update(check["name"] for checks in recorder.get("checks", {}).values() for check in checks)
            failed += failures(recorder)
    return made, failed


def failures(recorder: dict[str, Any]) -> Iterator[Failure]:
    for case, checks in recorder.get("checks", {}).items():
        for check in checks:
            if check["status"] != "success":
                told = check["failure_info"]["failure"]
                interaction = recorder["interactions"][case]
                status = (interaction["response"] or {}).get("status_code", 0)
                case_of = recorder["cases"][case]["value"]
                operation = f"{case_of['method']} {case_of['path']}"
                sent = base64.b64decode((interaction["request"].get("body") or {}).get("$base64", "")).decode()
                yield Failure(
                    check["name"], operation, status, f"{told['message']}\n{interaction['request']['uri']}\n{sent}"
                )


# The phase that tries every corner of every schema has thousands of them where there are operations: by hand only.
COVERAGE = ("--phases", "coverage", "--exclude-operation-id", "update_user", "--exclude-operation-id", "run_batch")
OTHERS = ("--phases", "examples,fuzzing,stateful", "--max-examples")


@pytest.mark.parametrize(
    ("who", "options"), [("a backend", (*OTHERS, "20")), ("a backend", COVERAGE), ("nobody", (*OTHERS, "5"))]
)
def test_a_stranger_finds_nothing_that_is_not_as_described(
    server: Server, tmp_path: Path, who: str, options: tuple[str, ...]
) -> None:
    made, failed = asked(server, tmp_path, who, *options)
    assert [failure for failure in failed if not is_impossible(failure)] == []
    assert sum(made.values()) > 1_000
    assert not CHECKS - set(made), "a check was not made"
    assert "broke" not in server.log()
