from tests.rigs.stopwatch import Stopwatch


def test_what_it_did_counts_and_not_when_it_could_not_run() -> None:
    now = [100.0]
    with Stopwatch(lambda: now[0]) as watch:
        for _ in range(100):
            now[0] += 0.03  # and looked at as late as that
            watch.look(now[0])
        now[0] += 7.0
    assert round(watch.seconds, 6) == 3.01
