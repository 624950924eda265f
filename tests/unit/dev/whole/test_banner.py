"""Each line that is to be typed next works as it is printed."""

from dataclasses import replace
from pathlib import Path

from knative_mig.dev.whole.banner import Places, next_steps
from knative_mig.dev.whole.fleet import nodes_of

PLACES = Places(
    nodes=nodes_of("1xA100-40GB"),
    gateway=8080,
    api="http://127.0.0.1:1",
    brokers=2,
    kubeconfig=Path("/k"),
    manifest=Path("/m.json"),
    logs=Path("/l"),
    is_made=False,
)


def test_a_function_that_was_kept_is_not_to_be_made_again() -> None:
    before, making, *after = next_steps(PLACES)
    assert making.startswith(("kn service create tiny ", "curl -sSf "))
    assert next_steps(replace(PLACES, is_made=True)) == (before, *after)
