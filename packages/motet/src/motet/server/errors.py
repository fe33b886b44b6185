"""Errors as OpenAI's clients expect them: a status and one object that says what to change."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect

from motet.engine import EngineBusy, EngineError
from motet.errors import MotetError
from motet.harmony import HarmonyError


class ApiError(MotetError):
    """A request that cannot be answered; `param` is the path of what is wrong in it."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The object OpenAI's clients read."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


class ClientGone(ApiError):  # noqa: N818  (it says what is so, and nobody did anything wrong)
    """Nobody is there any more to be answered; for the log."""

    def __init__(self) -> None:
        super().__init__("The client has gone.", status=499, kind="client_gone")


def not_found(what: str, name: str) -> ApiError:
    """Something that is not there, or belongs to somebody else."""
    return ApiError(f"There is no {what} {name!r}.", status=404, code="not_found")


def busy(message: str) -> ApiError:
    """Too much at once; the same request may be served later."""
    return ApiError(
        message,
        status=429,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"retry-after": "1"},
    )


def as_api_error(error: BaseException) -> ApiError:
    """Any error as one a client may see; what nobody expected is named without its details."""
    match error:
        case ApiError():
            return error
        case ClientDisconnect():
            return ClientGone()
        case EngineBusy():
            return busy(str(error))
        case TimeoutError():
            return ApiError(
                "The request took longer than this server allows (request_seconds).",
                status=504,
                kind="server_error",
                code="timeout",
            )
        case RecursionError():
            return ApiError("The request is nested too deeply.")
        case HarmonyError():
            return ApiError(str(error))
        case EngineError():
            return ApiError(str(error), status=500, kind="server_error", code="server_error")
    return ApiError(
        "The server failed to answer; its log says why.",
        status=500,
        kind="server_error",
        code="server_error",
    )
