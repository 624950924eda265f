from random import Random

from knative_mig.adapters.kube.reflector import BackOff


def test_is_drawn_below_a_limit_that_doubles_and_ends() -> None:
    back_off = BackOff(first_s=1.0, most_s=8.0, random=Random(1))
    for failures, limit in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (10_000, 8.0)]:
        drawn = [back_off.seconds(failures) for _ in range(200)]
        assert 0 <= min(drawn) < limit / 10
        assert limit * 0.9 < max(drawn) <= limit
