"""An error as OpenAI's API tells it: an object that says what, where and of which kind.

Made by the tiny model's server and by the relay, so that a client reads one form, whoever refuses it.
"""

from typing import Any, Final

_KINDS: Final = {401: "authentication_error", 429: "rate_limit_error"}


def openai_error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def not_read(status: int, reason: str) -> dict[str, Any]:
    """Of what is refused before anybody has looked into it."""
    return openai_error(status, f"The request could not be read: {reason}.")
