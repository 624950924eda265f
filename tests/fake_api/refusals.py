"""What the fake API server says no with."""

from typing import Any


class Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s
        self.body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


def invalid(message: str) -> Refusal:
    return Refusal(422, "Invalid", message)


def conflict(message: str) -> Refusal:
    return Refusal(409, "Conflict", message)


def not_found(plural: str, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{plural} "{name}" not found')


EXPIRED_MESSAGE = "too old resource version"


def too_new(asked: int, current: int) -> Refusal:
    said = Refusal(504, "Timeout", f"Timeout: Too large resource version: {asked}, current: {current}", 1)
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    said.body["details"] = {"causes": causes, "retryAfterSeconds": 1}
    return said


def expired() -> Refusal:
    return Refusal(410, "Expired", EXPIRED_MESSAGE)
