"""Structured logs: one JSON object a line, carrying the trace id and the message ids of what is being handled."""

import logging
import re
import sys

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from shared.clock import random_hex
from shared.settings import Settings

TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")


def configure_logs(settings: Settings) -> None:
    """Send structlog's and the standard library's log lines to standard error, in the chosen format and level."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared_processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor
    if settings.log_format == "json":
        shared_processors.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        # Plain tracebacks: the pretty ones print local variables, passwords among them, and take seconds.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Each line of theirs at info is one request or one frame: far more than anybody reads.
    for noisy in ("aio_pika", "aiormq", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It repeats the traceback of every error that `errors.py` has logged already.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def new_traceparent(received: str | None = None) -> str:
    """A W3C `traceparent` for a new span, in the trace of `received` where that is valid, else in a new trace."""
    known = received and TRACEPARENT.match(received)
    trace_id = received.split("-")[1] if received and known else random_hex(32)
    return f"00-{trace_id}-{random_hex(16)}-01"


def bind_trace(traceparent: str) -> None:
    """Put this trace on every log line and event of the current task."""
    bind_contextvars(trace_id=traceparent.split("-")[1], traceparent=traceparent)


def current_traceparent() -> str | None:
    """The `traceparent` bound to the current task, if any."""
    value: str | None = get_contextvars().get("traceparent")
    return value
