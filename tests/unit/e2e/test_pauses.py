"""What a failing test says of the machine that it ran on."""

import re

from tests.cluster.pauses import Pauses


def test_what_stood_still_within_a_test_is_told_and_nothing_of_before() -> None:
    pauses = Pauses()
    for awake, again in ((3.0, 9.1), (10.0, 10.11), (20.0, 20.5), (30.0, 31.6), (40.0, 42.1)):
        pauses.seen(awake, again)
    told = pauses.told(since=10.0, now=50.0)
    assert told.startswith(
        "in the 40 s of this test its process stood still: 2 times, 3.5 s in all, 2.0 s at most; load "
    )
    assert re.search(r"waited for a processor in [\d.?]+ % of the last 300 s$", told)
    assert "stood still: never; " in pauses.told(since=43.0, now=50.0)
