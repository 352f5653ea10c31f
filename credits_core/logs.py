"""Structured logs: one JSON object a line on standard error, each with the id of the request it belongs to.

Secrets stay out by construction: no headers, bodies, cookies or query strings are logged, and whatever looks like
a key or a token inside a message is cut.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_SECRETS = re.compile(
    r"\b(?:sk|rk|pk|ck)_(?:test|live)_\w+|\bwhsec_\w+|\bsb_secret_[\w-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?<=Bearer )\S+",
    re.ASCII,
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def cut_secrets(text: str) -> str:
    """The text with keys, tokens and passwords in addresses replaced."""
    return _SECRETS.sub("[cut]", text)


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record; `extra` fields become keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": cut_secrets(record.getMessage()),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = cut_secrets("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logs(level: str) -> None:
    """Send every logger of this process through the JSON formatter (uvicorn's access log is replaced by ours)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "streamlit"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("httpx", "httpcore", "stripe", "watchdog", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def leave_out_traces() -> None:
    """For a start that failed on a settings mistake: the sentence is logged, the server's trace of it helps nobody."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("uvicorn.error").addFilter(lambda record: "Traceback" not in record.getMessage())
