from tests.cluster.order import dealt


def _dealt(seconds: list[int], *, workers: int) -> list[int]:
    return dealt(seconds, float, workers=workers)


def test_each_worker_begins_with_a_long_test_and_has_a_short_one_after_it() -> None:
    assert _dealt([90, 80, 70, 60, 50, 40, 30, 20], workers=4) == [90, 20, 80, 30, 70, 40, 60, 50]


def test_what_is_handed_out_later_keeps_its_order() -> None:
    assert _dealt([10, 90, 20, 80, 5, 7, 6], workers=2) == [90, 10, 80, 20, 5, 7, 6]


def test_fewer_tests_than_two_a_worker_stay_as_they_are() -> None:
    assert _dealt([1, 5, 3], workers=2) == [1, 5, 3]
