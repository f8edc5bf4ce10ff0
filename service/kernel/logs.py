"""Logs: one line per event, JSON by default, dotted names, ids only."""

import logging
import re
import sys
import traceback
from typing import Any, TextIO, cast

import structlog

from service.kernel.settings import Settings

_BEFORE_MODULE = re.compile(r".*/(?:service|site-packages|python3\.\d+)/")

log = structlog.get_logger()


class _Stderr:
    """Standard error as it is when a line is written: whoever redirects it later gets the line."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Libraries(logging.Handler):
    """What a library says, in one line: which, and what failed where. Its words may quote anything.

    Statements, addresses and rows are in such words.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        told = {} if error is None else describe(error)
        log.log(record.levelno, "library.spoke", library=record.name, **told)


def describe(defect: BaseException) -> dict[str, Any]:
    """Name a defect by its type and places; its message could quote what a patient said."""
    frames = traceback.extract_tb(defect.__traceback__)[-6:]
    return {
        "kind": type(defect).__name__,
        "at": [f"{_BEFORE_MODULE.sub('', frame.filename)}:{frame.lineno}" for frame in frames],
    }


def configure(settings: Settings) -> None:
    """Configure structlog, and let libraries speak through it."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()])
