"""Sends what `mix` draws to both doors, on many connections, and judges each answer and, at the end, both processes.

Called by `__main__` and by the tests' short form. The subtle thing is what an answer proves: a review's carries the
review's own name, so one that a door took for another, because it misjudged where a request ended, is seen; and the
events that a door took are counted by the planner, and there are at least as many as valid ones were sent.
"""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from knative_mig.adapters.bounded_http import READ_WITHIN_S
from knative_mig.adapters.webhook_server import HANDSHAKE_WITHIN_S
from tests.fake_api.patches import patched
from tests.fake_api.refusals import Refusal
from tests.fuzz_campaign.draft import Degree, Sent
from tests.fuzz_campaign.mix import Door, Mix
from tests.fuzz_campaign.processes import Processes, Served, limit_mib
from tests.fuzz_campaign.wire import Answer, NotAnAnswer, Wire

# What a door may refuse with. To the sink it matters: Knative sends again what was answered 404, 408, 409, 429 or 5xx.
REFUSALS: Final = {
    Door.SINK: {400, 405, 413, 414, 415, 431},
    Door.WEBHOOK: {400, 404, 405, 413, 414, 415, 431},
}
ACCEPTED: Final = {Door.SINK: 202, Door.WEBHOOK: 200}
LONGEST_REASON: Final = 1000  # bytes
MOST_KEPT: Final = 20  # failures whose bytes are kept
CONNECTIONS: Final = 8  # to each door at once
LOOKS_EVERY_S: Final = 1.0
TELLS_EVERY: Final = 10  # looks
# A door lets go who takes longer, and on a machine that others use too that may be any client: it comes again.
LET_GO_AFTER_S: Final = min(HANDSHAKE_WITHIN_S, READ_WITHIN_S) * 0.9
TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    door: Door
    why: str
    sent: Sequence[Sent] = ()

    def __str__(self) -> str:
        kinds = ", ".join(each.kind for each in self.sent)
        return f"{self.door}: {kinds}: {self.why}" if kinds else f"{self.door}: {self.why}"


@dataclass(slots=True)
class Result:
    sent: Counter[tuple[Door, Degree, str]] = field(default_factory=Counter)
    answers: Counter[tuple[Door, Degree, str]] = field(default_factory=Counter)
    connections: Counter[Door] = field(default_factory=Counter)
    late: Counter[Door] = field(default_factory=Counter)  # let go by a deadline, and sent again
    memory: dict[Door, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    took_s: float = 0.0
    aimed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, door: Door, parcel: Sequence[Sent], answers: Sequence[Answer], why: str) -> None:
        """From all threads."""
        with self.lock:
            if why:
                self.failures.append(Failure(door=door, why=why, sent=parcel))
            for each in parcel:
                self.sent[door, each.degree, each.kind] += 1
            for at, answer in enumerate(answers):
                degree = parcel[min(at, len(parcel) - 1)].degree
                self.answers[door, degree, str(answer.status)] += 1
            if len(answers) < len(parcel):
                self.answers[door, parcel[-1].degree, "closed"] += len(parcel) - len(answers)

    @property
    def passed(self) -> bool:
        return not self.failures and self.sent.total() >= self.aimed


def run(
    *,
    requests: int,
    seed: int = 1,
    connections: int = CONNECTIONS,
    watch_every: int = 4,
    evidence: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """`requests`: to both doors together. `connections`: at once, to each."""
    result = Result(aimed=requests)
    with TemporaryDirectory(prefix="fuzz-") as folder, Processes(Path(folder), watch_every=watch_every) as running:
        for served in running.each():
            served.look()
        began = time.monotonic()
        workers = [
            _Worker(running[door], f"{seed}-{number}", _share(requests, len(Door) * connections, at), result)
            for at, (number, door) in enumerate((number, door) for number in range(connections) for door in Door)
        ]
        threads = [threading.Thread(target=each.work, name=f"sends-{at}") for at, each in enumerate(workers)]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(LOOKS_EVERY_S)
            _look(running, result, say)
        result.took_s = time.monotonic() - began
        for served in running.each():
            _judge_at_the_end(served, result)
        if evidence is not None:
            _keep(running, result, evidence)
    return result


def _share(whole: int, parts: int, at: int) -> int:
    return whole * (at + 1) // parts - whole * at // parts


def _look(running: Processes, result: Result, say: Callable[[str], None]) -> None:
    for served in running.each():
        if served.process.poll() is None:
            served.look()
    if len(running[Door.SINK].memory_mib) % TELLS_EVERY == 0:
        words = ", ".join(f"{served.door} {served.memory_mib[-1]} MiB" for served in running.each())
        say(f"{result.sent.total():>7} of {result.aimed} sent, {len(result.failures)} failures; {words}")


class _Worker:
    def __init__(self, served: Served, seed: str, count: int, result: Result) -> None:
        self._served, self._count, self._result = served, count, result
        self._door = served.door
        self._mix = Mix(served.door, seed)

    def work(self) -> None:
        wire = Wire(self._served.port, self._served.tls, self._served.host)
        try:
            for parcel in self._mix.drawn(self._count):
                self._send(wire, parcel)
        except Exception as error:
            self._result.failures.append(Failure(door=self._door, why=f"the campaign itself failed: {error!r}"))
            raise
        finally:
            wire.close()
            with self._result.lock:
                self._result.connections[self._door] += wire.connections

    def _send(self, wire: Wire, parcel: Sequence[Sent]) -> None:
        for _ in range(TRIES):
            began = time.monotonic()
            why = ""
            answers: list[Answer] = []
            try:
                answers = wire.send(parcel)
            except (NotAnAnswer, OSError) as error:
                wire.close()
                why = f"{type(error).__name__}: {error}"
            took_s = time.monotonic() - began
            why = why or judged(self._door, parcel, answers)
            told = [answer for answer in answers if answer.status != HTTPStatus.REQUEST_TIMEOUT]
            if not why or told or took_s < LET_GO_AFTER_S:
                break
            with self._result.lock:
                self._result.late[self._door] += 1
        self._result.take(self._door, parcel, answers, f"{why} (after {took_s:.2f} s)" if why else "")


# -- verdicts ----------------------------------------------------------------------------------------------------------


def judged(door: Door, parcel: Sequence[Sent], answers: Sequence[Answer]) -> str:
    """What is wrong, or nothing."""
    for at, answer in enumerate(answers):
        sent = parcel[min(at, len(parcel) - 1)]
        if why := _proper(door, answer) or (_fitting(door, sent, answer) if sent.framed else ""):
            return f"{why}: {answer.status} {answer.body[:200]!r}"
    if len(answers) < len(parcel) and parcel[len(answers)].framed:
        return f"{len(answers)} answers to {len(parcel)} requests"
    return ""


def _proper(door: Door, answer: Answer) -> str:
    """Whatever was sent."""
    if answer.status == ACCEPTED[door]:
        return "a body that a Broker would take for an event" if door is Door.SINK and answer.body else ""
    if answer.status not in REFUSALS[door]:
        return "no status that this door may answer with"
    text = answer.body.removesuffix(b"\n")
    one_line = text.decode(errors="replace").isprintable() and len(text) <= LONGEST_REASON
    return "" if one_line else "the reason is not one short line"


def _fitting(door: Door, sent: Sent, answer: Answer) -> str:
    """To what was sent."""
    if answer.status != ACCEPTED[door]:
        return "a valid request is refused" if sent.degree is Degree.VALID else ""
    return _response(sent, answer) if door is Door.WEBHOOK else ""


def _response(sent: Sent, answer: Answer) -> str:
    try:
        whole = json.loads(answer.body)
        response: dict[str, Any] = whole["response"]
        named = (whole["apiVersion"], whole["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        patch = json.loads(base64.b64decode(response.get("patch", "W10="), validate=True))
    except (ValueError, KeyError, TypeError) as error:
        return f"no AdmissionReview ({error})"
    if not named or not isinstance(response.get("allowed"), bool):
        return "no AdmissionReview"
    if sent.degree is not Degree.VALID:
        return ""
    if response["uid"] != sent.uid:
        return f"the answer to another review than {sent.uid}"
    if response["allowed"] != sent.allowed:
        return "refused" if sent.allowed else "let in"
    try:
        patched(sent.object or {}, patch)
    except Refusal as refusal:
        return f"a patch that cannot be applied ({refusal})"
    return ""


def _judge_at_the_end(served: Served, result: Result) -> None:
    def fails(why: str) -> None:
        result.failures.append(Failure(door=served.door, why=why))

    if served.process.poll() is not None:
        fails(f"its process ended by itself with {served.process.returncode}")
    elif not served.is_ready():
        fails("it is not ready at the end")
    elif why := _unwell(served):
        fails(f"at the end a valid request has no proper answer: {why}")
    else:
        served.look()
        if served.door is Door.SINK and (short := _not_taken(served, result)):
            fails(short)
        peak, limit = served.most_mib, limit_mib(served.door)
        first, last = served.memory_mib[0], served.memory_mib[-1]
        result.memory[served.door] = f"{first} MiB at first, {last} at the end, {peak} at most; its limit is {limit}"
        if peak >= limit:
            fails(f"it took {peak} MiB of memory, its container's limit is {limit}")
        if (code := served.end()) != 0:
            fails(f"told to end, it ended with {code}")
    for line in served.odd_lines()[:MOST_KEPT]:
        fails(f"its log has: {line[:300]!r}")


def _unwell(served: Served) -> str:
    mix, wire = Mix(served.door, "end"), Wire(served.port, served.tls, served.host)
    try:
        for sent in (mix.plain() for _ in range(10)):
            if why := judged(served.door, [sent], wire.send([sent])):
                return why
    except (NotAnAnswer, OSError) as error:
        return repr(error)
    finally:
        wire.close()
    return ""


def _not_taken(served: Served, result: Result) -> str:
    """An event that was answered 202 was counted."""
    valid = sum(n for (door, degree, _), n in result.sent.items() if (door, degree) == (Door.SINK, Degree.VALID))
    accepted = sum(n for (door, _, status), n in result.answers.items() if (door, status) == (Door.SINK, "202"))
    counted = served.figure("knative_mig_planner_events_total")
    if accepted < valid or counted < accepted:
        return f"{valid} valid events were sent, {accepted} accepted, {counted:.0f} counted"
    return ""


def _keep(running: Processes, result: Result, evidence: Path) -> None:
    """What failed, byte for byte, and both logs."""
    evidence.mkdir(parents=True, exist_ok=True)
    for old in evidence.iterdir():
        old.unlink()
    for served in running.each():
        (evidence / served.log.name).write_bytes(served.log.read_bytes())
    for at, failure in enumerate([each for each in result.failures if each.sent][:MOST_KEPT]):
        (evidence / f"{at:02}-{failure.door}.request").write_bytes(b"".join(each.data for each in failure.sent))
        (evidence / f"{at:02}-{failure.door}.why").write_text(f"{failure}\n")


# -- words -------------------------------------------------------------------------------------------------------------


def summary(result: Result) -> Sequence[str]:
    lines = []
    for door in Door:
        lines.append(f"{door}: what was sent, by kind")
        for degree in Degree:
            kinds = {kind: n for (d, g, kind), n in result.sent.items() if (d, g) == (door, degree)}
            lines.append(f"  {degree}: {sum(kinds.values())}")
            lines += [f"    {n:>6}  {kind}" for kind, n in sorted(kinds.items())]
            answers = {word: n for (d, g, word), n in result.answers.items() if (d, g) == (door, degree)}
            lines.append("    answered " + ", ".join(f"{word}: {n}" for word, n in sorted(answers.items())))
    lines += [
        f"{door}: {n} connections, {result.late[door]} let go as late; memory: {result.memory.get(door, '?')}"
        for door, n in sorted(result.connections.items())
    ]
    whole = result.sent.total()
    lines.append(f"{whole} requests in {result.took_s:.0f} s, {whole / max(result.took_s, 0.1):.0f} a second")
    lines += [f"FAILED: {each}" for each in result.failures[:MOST_KEPT]]
    lines.append(f"{len(result.failures)} failures")
    return [*lines, "passed" if result.passed else "FAILED"]
