"""Log lines for the person who reads them at three in the morning: text by default, JSON for machines.

A line that belongs to requests carries their ids, which `about` attaches; a secret in a line, however it got there, is
struck out before the line is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Secret keys, secrets of webhooks and of identity keys, signed tokens (`{"` in base 64 begins each), and tokens of
# sign-ins, of which the session's id may stay. Not only whole words: in a quoted text the letter of an escape may stand
# before one.
_SECRETS = re.compile(
    r"([si]k_|whsec_)[^\s\"'\\,;&/]{16,}"
    r"|(eyJ)[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+"
    r"|(ses_\w{1,64}\.)[A-Za-z0-9_-]{16,}"
)


def about(*request_ids: str, **fields: Any) -> dict[str, Any]:
    """`extra` of a log line: the requests that it is about, and values that a machine should find by their names."""
    return {"about_requests": request_ids, "about_fields": fields}


def set_up_logging(log_format: str) -> None:
    """Send all log lines to standard error; standard output is for what was asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It says when it starts and stops, as we do, and a line for every broken request that a stranger sends.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def formatter(log_format: str) -> logging.Formatter:
    """What makes lines of `text` or of `json`."""
    return _Json() if log_format == "json" else _Text()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _without_secrets(f"{_time(record)} {record.levelname.lower():7} {record.name}: {super().format(record)}")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The message, which comes before the exception."""
        values = (f"{name}={_shown(value)}" for name, value in _fields(record).items())
        ids = _request_ids(record)
        of = f"(request{'s' if len(ids) > 1 else ''} {', '.join(ids)})" if ids else ""
        return " ".join(part for part in (record.message, *values, of) if part)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        ids = _request_ids(record)
        if len(ids) == 1:
            line["request_id"] = ids[0]
        elif ids:
            line["request_ids"] = ids
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _without_secrets(json.dumps(line, ensure_ascii=False))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "about_fields", {})
    return fields


def _request_ids(record: logging.LogRecord) -> tuple[str, ...]:
    ids: tuple[str, ...] = getattr(record, "about_requests", ())
    return ids


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _without_secrets(line: str) -> str:
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}…", line)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
