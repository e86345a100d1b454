from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from fangxin.defend import DefenceError
from fangxin.detect import DetectorError
from fangxin.ledger import LedgerError
from fangxin.models import ModelError

log = logging.getLogger("fangxin.gateway")


class ApiError(Exception):
    """An error as OpenAI's API shows it.

    Attributes:
        status: the HTTP status.
        type: OpenAI's word for the sort of error.
        param: the field at fault.
        code: what went wrong, for programs.
        headers: further HTTP headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers

    def data(self) -> dict[str, Any]:
        """The error's JSON."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        """The error as an HTTP answer."""
        return as_json(self.data(), self.status, self.headers)


def as_json(data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An HTTP answer that no cache keeps."""
    return Response(
        orjson.dumps(data),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def told(error: Exception) -> ApiError:
    """What a caller is told of a failure behind the door.

    The failure's own words may name inner hosts, files and settings: they go to the log only.
    """
    if isinstance(error, ApiError):
        return error
    log.warning("%s: %s", type(error).__name__, error)
    if isinstance(error, TimeoutError) or (isinstance(error, ModelError) and error.kind == "timeout"):
        return ApiError(504, "The model did not answer in time: try again.", "server_error", code="timeout")
    if isinstance(error, ModelError):
        if error.kind == "rate_limited" and not error.fatal:
            message = "The model is overloaded: try again later."
            return ApiError(429, message, "rate_limit_error", code="model_overloaded")
        if error.kind == "rejected" and not error.fatal:
            message = (
                "The model's server rejected the request: it may be too long, or a setting unknown to it."
            )
            return ApiError(400, message, "invalid_request_error", code="model_rejected")
        message = "The model failed: the gateway's log says why."
        return ApiError(502, message, "server_error", code="model_failed")
    if isinstance(error, DefenceError | DetectorError):
        message = "The shield could not decide, so nothing was let through: try again."
        return ApiError(503, message, "server_error", code="shield_failed")
    if isinstance(error, LedgerError):
        message = "The exchange could not be recorded, so it was not completed: the gateway's log says why."
        return ApiError(503, message, "server_error", code="ledger_failed")
    log.error("a fault of the gateway's own", exc_info=error)
    return ApiError(500, "The gateway has a fault: its log says more.", "server_error", code="internal")
