"""Errors that reach people over HTTP, as problem details (RFC 9457, `application/problem+json`)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shared.events import field_path
from shared.faults import is_infrastructure

log = structlog.get_logger()


class FieldError(BaseModel):
    """What is wrong with one field or row: `field` is a path like `lines[0].quantity`."""

    field: str
    detail: str


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = []


class ProblemError(HTTPException):
    """Ends a request with a problem: `status` (HTTP), `code` (for programs, stable), `detail` (for people)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep what the answer will say."""
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = list(errors)


def problem_response(error: ProblemError) -> JSONResponse:
    """The HTTP answer that tells of this error."""
    problem = Problem(
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=error.detail,
        code=error.code,
        errors=error.errors,
    )
    return JSONResponse(
        problem.model_dump(), error.status_code, headers=error.headers, media_type="application/problem+json"
    )


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """Pydantic's error list as field errors, in its order."""
    return [FieldError(field=_named(error["loc"]), detail=error["msg"]) for error in errors]


def _named(location: Sequence[int | str]) -> str:
    """The field's path without where in the request it stood; that alone when all of it is meant."""
    inside = location[1:] if location and location[0] in {"body", "query", "path", "header"} else location
    if len(location) > len(inside) == 1 and isinstance(inside[0], int):
        inside = ()  # of a body that is no JSON: where in its text
    return field_path(inside) or str(location[0] if location else "body")


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem: ours, validation, unknown routes, and the unexpected (500, logged)."""

    async def on_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)  # noqa: S101 - FastAPI dispatches by this very type
        return problem_response(error)

    async def on_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
        errors = field_errors(error.errors())
        detail = "; ".join(f"{item.field}: {item.detail}" for item in errors)
        return problem_response(ProblemError(422, "invalid_request", detail, errors=errors))

    async def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - likewise
        code = HTTPStatus(error.status_code).name.lower()
        headers = dict(error.headers) if error.headers else None
        return problem_response(ProblemError(error.status_code, code, str(error.detail), headers=headers))

    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
        if is_infrastructure(error):
            log.warning("request_unavailable", method=request.method, path=request.url.path, error=repr(error))
            detail = "The database is away or too busy; nothing was done. Send the same request again shortly."
            return problem_response(ProblemError(503, "unavailable", detail, headers={"Retry-After": "2"}))
        log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
        detail = "Something went wrong on our side; it is in the log. Sending the same request again is safe."
        return problem_response(ProblemError(500, "internal_error", detail))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected)
