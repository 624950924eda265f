"""`knative-mig invoke NAME PROMPT`: asks a function, and shows its cold start as it happens.

The text goes to the standard output as it comes, all else to the standard error: `invoke … > file` holds the answer and
no more.
"""

import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import click

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import FUNCTION, POD, key_of
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.adapters.program import Whole, duration
from knative_mig.cli.cluster import all_of, causes_of, client, gateway_of, of_a_cluster
from knative_mig.cli.function_call import FunctionFailed, Piece, completion, target_of
from knative_mig.cli.function_text import condition
from knative_mig.cli.phases import Phases
from knative_mig.cli.terminal import is_screen
from knative_mig.core.errors import BadInput, NotReadyInTime
from knative_mig.core.events import shown
from knative_mig.ports.kube import Key, ObjectNotFound

_LOOKS_EACH_S: Final = 0.1
pause = time.sleep


@click.command(name="invoke")
@click.argument("name")
@click.argument("prompt")
@click.option("-n", "--namespace", default="default", show_default=True, help="The function's.")
@click.option("--max-tokens", type=Whole(1), default=64, show_default=True, help="Of the answer, at most.")
@click.option("--model", default=None, help="Its name at the function; else the first that it serves.")
@click.option("--timeout", type=duration(0.1), default=300.0, show_default=True, help="Seconds to a first token.")
@click.option("--gateway", default=None, help="HOST[:PORT] of the cluster's gateway, where no DNS knows the function.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but the answer.")
@of_a_cluster
def command(
    *,
    name: str,
    prompt: str,
    namespace: str,
    max_tokens: int,
    model: str | None,
    timeout: float,
    gateway: str | None,
    quiet: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Ask the function NAME to go on with PROMPT (- for the standard input), and print its answer as it comes."""
    cluster = client(kubeconfig, context, is_quiet=quiet)
    function, text = Key(namespace, name), _prompt(prompt)
    _check(cluster, function)

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    with Phases(cluster, function, say) as phases:
        try:
            url = _url(cluster, function, within_s=timeout)
            target = target_of(url, gateway if gateway is not None else gateway_of(cluster))
            pieces = completion(target, text, model=model, max_tokens=max_tokens, first_within_s=timeout)
            first = next((each for each in pieces if each.text), None)
        except NotReadyInTime as late:
            raise NotReadyInTime(f"{namespace}/{name}: {_with_phase(str(late), phases.last)}") from None
        first_s = phases.end()
    if first is None:
        say("the answer is empty")
        return
    say(f"first token {first_s:7.2f} s")
    began = time.monotonic()
    tokens = _printed(chain([first], pieces))
    seconds = time.monotonic() - began
    rate = f" at {(tokens - 1) / seconds:.0f} a second" if tokens > 1 and seconds > 0 else ""
    say(f"{tokens} tokens{rate}")


def _check(cluster: KubeClient, function: Key) -> None:
    """BadInput: there is no such function."""
    if not (function.name and function.namespace):  # as of a variable that is not set
        raise BadInput("a function has a name and a namespace, and here one of them is empty")
    try:
        cluster.get(FUNCTION, function)
    except ObjectNotFound:
        there = sorted(str(each["metadata"]["name"]) for each in all_of(cluster, FUNCTION, function.namespace))
        legal = f"there are {', '.join(there[:20])}" if there else "there is none; `knative-mig ls` shows all"
        raise BadInput(
            f"no function {shown(function.name)} in namespace {shown(function.namespace)}: {legal}"
        ) from None


def _with_phase(late: str, phase: str) -> str:
    """How far it came is said too, where that is more than has been said."""
    detail = phase.partition(": ")[2]
    return late if detail and detail in late else f"{late} (it came as far as: {phase})"


def _url(cluster: KubeClient, function: Key, *, within_s: float) -> str:
    """As soon as it leads to a Revision: who has just made a function may ask it at once."""
    deadline = time.monotonic() + within_s
    while True:
        body = cluster.get(FUNCTION, function)
        found = Fields(body)
        status, ready = found.child("status"), condition(found, "Ready")
        is_ready = ready.text("status") if ready else ""
        if status.has("url") and (is_ready == "True" or status.has("latestReadyRevisionName")):
            return status.text("url")
        why = ": ".join(filter(None, (ready.text("reason"), ready.text("message")))) if ready else "nobody has seen it"
        if is_ready == "False":
            raise FunctionFailed(f"{function.namespace}/{function.name}: {_cause(cluster, body) or why}")
        if time.monotonic() > deadline:
            raise NotReadyInTime(f"not deployed in {within_s:g} s: {_cause(cluster, body) or why}")
        pause(_LOOKS_EACH_S)


def _cause(cluster: KubeClient, function: dict[str, Any]) -> str:
    """Empty: none is known."""
    key = key_of(function)
    pods = all_of(cluster, POD, key.namespace, {"labelSelector": f"{SERVICE_LABEL}={key.name}"})
    return causes_of(cluster, [function], pods, key.namespace).get((key.namespace, key.name), "")


def _prompt(given: str) -> str:
    if given == "-":
        try:
            return sys.stdin.buffer.read().decode()
        except UnicodeDecodeError as bad:
            raise BadInput(f"standard input: is not UTF-8 text (byte {bad.start + 1})") from None
    try:
        given.encode()
    except UnicodeEncodeError:
        raise BadInput("PROMPT: is not UTF-8 text") from None
    return given


def _printed(pieces: Iterator[Piece]) -> int:
    """How many tokens it was: as the function says, or else how many pieces came."""
    count, told, last = 0, None, ""
    screen = is_screen()
    try:
        for piece in pieces:
            if piece.text:
                count += 1
                last = piece.text
                click.echo(_harmless(piece.text) if screen else piece.text, nl=False)
            told = piece.tokens if piece.tokens is not None else told
    finally:  # whatever is said next begins a line
        if not last.endswith("\n"):
            click.echo()
    return count if told is None else told


def _harmless(text: str) -> str:
    """To a terminal no language model gives orders."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
