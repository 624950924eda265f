"""What `bench.gateway` measures, without the clock: that it asks, holds and is answered by its own processes."""

from bench.gateway import costs, released


def test_requests_and_tokens_come_by_both_ways() -> None:
    found = costs(rounds=1, requests=5, tokens=3)
    assert min(found.request_direct, found.request_through, found.token_direct, found.token_through) > 0


def test_all_that_are_held_are_answered() -> None:
    found = released(count=20)
    assert found.count == 20
    assert 0 < found.p50_s <= found.p99_s
