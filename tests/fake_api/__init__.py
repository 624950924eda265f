"""A small API server for tests: real HTTP, real watches, and faults on demand. Start at `FakeApi`."""

from tests.fake_api.api import FakeApi

__all__ = ["FakeApi"]
