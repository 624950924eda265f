"""An error that a client is told: a status, and what OpenAI's API says with it.

Raised where a request is read, and where it finds no place; `http_server` writes it.
"""

from typing import Any

from knative_mig.core.errors import KnativeMigError
from services.openai_error import openai_error


class ApiError(KnativeMigError):
    reason = "ApiError"

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s  # 0: not said

    def object(self) -> dict[str, Any]:
        return openai_error(self.status, str(self), param=self.param, code=self.code)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def missing(param: str) -> ApiError:
    return bad(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, wanted: str, value: object) -> ApiError:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    got = names.get(type(value), "a decimal" if isinstance(value, float) else "an integer")
    return bad(f"Invalid type for '{param}': expected {wanted}, but got {got} instead.", param, "invalid_type")
