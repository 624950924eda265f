"""A file of simulated GPUs is read whole or refused by name; it is never reset."""

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters.sim_gpu import (
    Call,
    Fault,
    FileStore,
    Harm,
    SimulatedGpus,
    SimulationControls,
    When,
    open_store,
)
from knative_mig.adapters.sim_gpu.state import State
from knative_mig.adapters.sim_gpu.state_codec import Damage, decode, digest, encode
from knative_mig.core.errors import BadInput, GpuStateDamaged, GpuTimeout
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import create_slice

SPEC = "1xA100-40GB,1xRTX-PRO-6000-BLACKWELL-96GB"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """GPUs with something of everything: slices, a process, an event, a fault."""
    path = tmp_path / "gpus.json"
    store = open_store(SPEC, path)
    driver, controls = SimulatedGpus(store), SimulationControls(store)
    a100, rtx = (gpu.uuid for gpu in driver.inventory().gpus)
    made = create_slice(driver, a100, ProfileName.parse("3g.20gb"), 4)
    assert made.compute_instance is not None
    controls.attach(made.compute_instance.mig_uuid, memory_mib=5)
    driver.create_gpu_instance(a100, ProfileName.parse("1g.5gb"), 0)
    create_slice(driver, rtx, ProfileName.parse("1g.24gb+me.all"), 9)
    controls.raise_xid(a100, 43, gi_id=made.gi_id)
    controls.raise_xid(rtx, 79)
    controls.inject(Fault(call=Call.PROCESSES, harm=Harm.FAIL, when=When.AFTER, nth=7, error=GpuTimeout))
    return path


def test_what_is_written_is_read_back(file: Path) -> None:
    state = FileStore(file).read()
    assert decode(encode(state)) == state
    assert len(state.gpus[0].instances[1].holders) == len(state.faults) == 1


def test_what_did_not_change_is_not_parsed_again_and_what_did_is_seen_whatever_the_files_times_say(file: Path) -> None:
    store, times = FileStore(file), file.stat()
    before = store.read()
    assert store.read() is before
    whole = file.read_bytes()
    changed = replace(before, gpus=(replace(before.gpus[0], lost=True), *before.gpus[1:]))
    file.write_bytes(encode(changed))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.read() == changed
    file.write_bytes(whole[:-20] + b"!" + whole[-19:])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(GpuStateDamaged):
            store.read()
    file.write_bytes(whole)
    assert store.read() == before


def test_a_gpu_that_another_process_did_not_change_is_not_parsed_again(file: Path) -> None:
    store, other = FileStore(file), FileStore(file)
    before = store.read()
    other.update(lambda state: (state.with_gpu(replace(state.gpus[0], lost=True)), None))
    after = store.read()
    assert after.gpus[0] == replace(before.gpus[0], lost=True)
    assert after.gpus[1] is before.gpus[1]
    other.update(lambda state: (state.with_gpu(replace(state.gpus[1], lost=True)), None))
    assert [gpu.lost for gpu in store.read().gpus] == [True, True]


def test_a_file_that_an_earlier_version_wrote_line_by_line_is_read(file: Path) -> None:
    state = FileStore(file).read()
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1) + "\n", encoding="utf-8")
    assert FileStore(file).read() == state


def test_who_reads_a_gpu_does_not_wait_for_who_changes_another(tmp_path: Path) -> None:
    store = open_store(SPEC, tmp_path / "gpus.json")
    create_slice(SimulatedGpus(store), store.read().gpus[0].uuid, ProfileName.parse("3g.20gb"), 4)
    read: list[tuple[str, ...]] = []

    def change(state: State) -> tuple[State, None]:
        driver = SimulatedGpus(FileStore(tmp_path / "gpus.json"))
        seen = driver.occupancy(state.gpus[0].uuid)
        driver.remaining_capacity(state.gpus[0].uuid, ProfileName.parse("1g.5gb"))
        driver.wait_for_event(0)
        read.append(tuple(str(each.place) for each in seen.gpu.instances))
        return state, None

    store.update(change)
    assert read == [("3g.20gb@4",)]


def test_a_second_opening_finds_the_same_gpus(file: Path) -> None:
    before = file.read_bytes()
    assert open_store(SPEC, file).read() == decode(before)
    assert file.read_bytes() == before


def test_other_gpus_than_asked_for_are_refused_and_kept(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(BadInput, match=rf"{re.escape(str(file))} holds .* A100-40GB, RTX.*, not 2xA100-40GB"):
        open_store("2xA100-40GB", file)
    assert file.read_bytes() == before


def test_a_file_cut_short_at_any_byte_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is a line's end, and nothing is lost with it
        with pytest.raises(Damage):
            decode(whole[:length])
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GpuStateDamaged, match=rf"^{re.escape(str(file))}: is not JSON: "):
        FileStore(file).read()


def test_a_file_with_any_byte_changed_is_refused_or_says_the_same(file: Path) -> None:
    whole = file.read_bytes()
    state = decode(whole)
    refused = 0
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        try:
            assert decode(bytes(flipped)) == state
        except Damage:
            refused += 1
    assert refused > 0.8 * len(whole)  # the rest is white space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("GPU 0: A100", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ufeff{}", "is not JSON"),
        ("[]", "the file is not an object"),
        ("{}", "the file.version is not a whole number"),
        ('{"version": 2}', "has version 2: this knative-mig reads version 1"),
        ('{"version": 1}', "the file.sha256 is not a text"),
        ('{"version": 1, "sha256": "0"}', "does not match its digest: it was torn or edited"),
    ],
    ids=["empty", "prose", "nested", "byte-order-mark", "list", "no-version", "newer", "no-digest", "wrong-digest"],
)
def test_what_is_not_such_a_file_is_refused_and_left_alone(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gpus.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(GpuStateDamaged, match=re.escape(f"{path}: {said}")):
        open_store(SPEC, path)
    assert path.read_text(encoding="utf-8") == text


def test_a_file_of_before_gpus_said_that_they_want_a_reset_is_read(file: Path) -> None:
    document = json.loads(file.read_bytes())
    for gpu in document["state"]["gpus"]:
        del gpu["wants_reset"]
    document["sha256"] = digest(document["state"])
    assert decode(json.dumps(document).encode()) == FileStore(file).read()


WITH_A_FRESH_DIGEST: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("key-too-many", lambda s: s.update(more=1), "the file.state: more is missing or unknown"),
    ("key-missing", lambda s: s.pop("serial"), "the file.state: serial is missing or unknown"),
    ("negative", lambda s: s.update(serial=-1), "the file.state.serial is not a whole number"),
    ("bool-for-number", lambda s: s.update(serial=True), "the file.state.serial is not a whole number"),
    ("gpus-no-list", lambda s: s.update(gpus={}), "the file.state.gpus is not a list"),
    ("gpu-no-object", lambda s: s["gpus"].append(3), "the file.state.gpus[2] is not an object"),
    ("same-gpu-twice", lambda s: s["gpus"].append(s["gpus"][0]), "stands there twice"),
    ("unknown-model", lambda s: s["gpus"][0].update(model="A200"), "the file.state.gpus[0]: 'A200' is not a known"),
    ("lost-no-bool", lambda s: s["gpus"][0].update(lost=0), "the file.state.gpus[0].lost is not true or false"),
    ("empty-uuid", lambda s: s["gpus"][0].update(uuid=""), "the file.state.gpus[0].uuid is not a text"),
    (
        "unknown-profile",
        lambda s: s["gpus"][0]["instances"][0].update(profile="3g.40gb"),
        "the file.state.gpus[0].instances[0]: 3g.40gb is not a profile of A100-40GB",
    ),
    (
        "illegal-start",
        lambda s: s["gpus"][0]["instances"][1].update(start=2),
        "the file.state.gpus[0].instances[1]: 3g.20gb cannot start at 2",
    ),
    (
        "overlap",
        lambda s: s["gpus"][0]["instances"][0].update(start=5),
        "the file.state.gpus[0]: 1g.5gb@5 and 3g.20gb@4 overlap",
    ),
    (
        "same-id-twice",
        lambda s: s["gpus"][0]["instances"][0].update(gi_id=1),
        "the file.state.gpus[0].instances: one of [1, 1] stands there twice",
    ),
    ("unknown-harm", lambda s: s["faults"][0].update(harm="explode"), "the file.state.faults[0]: 'explode' is not"),
    ("unknown-error", lambda s: s["faults"][0].update(error="Oops"), "the file.state.faults[0]: 'Oops'"),
    ("odds-above-one", lambda s: s["faults"][0].update(probability=2), "a fault's probability is between 0 and 1"),
    ("odds-no-number", lambda s: s["faults"][0].update(probability="1"), "faults[0].probability is not a number"),
]


@pytest.mark.parametrize(
    ("edit", "said"),
    [(edit, said) for _, edit, said in WITH_A_FRESH_DIGEST],
    ids=[case for case, _, _ in WITH_A_FRESH_DIGEST],
)
def test_a_careful_edit_is_refused_for_what_it_says(
    file: Path, edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    document = json.loads(file.read_bytes())
    edit(document["state"])
    document["sha256"] = digest(document["state"])
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(GpuStateDamaged, match=re.escape(said)):
        FileStore(file).read()


def test_what_cannot_be_read_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "gpus.json").mkdir()
    with pytest.raises(GpuStateDamaged, match=r"gpus\.json: Is a directory"):
        open_store(SPEC, tmp_path / "gpus.json")
    with pytest.raises(GpuStateDamaged, match=r"cannot be locked: No such file or directory"):
        open_store(SPEC, tmp_path / "nowhere" / "gpus.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_this_user_may_not_read_is_told(file: Path) -> None:
    file.chmod(0)
    with pytest.raises(GpuStateDamaged, match="Permission denied"):
        FileStore(file).read()


def test_a_change_that_fails_is_not_kept(file: Path) -> None:
    before = file.read_bytes()

    def fail(_: object) -> Any:
        raise BadInput("no")

    with pytest.raises(BadInput):
        FileStore(file).update(fail)
    assert file.read_bytes() == before


def test_reading_writes_nothing(file: Path) -> None:
    before = file.stat()
    SimulatedGpus(FileStore(file)).inventory()
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_leftover_of_a_killed_writer_is_overwritten(file: Path) -> None:
    file.with_name("gpus.json.new").write_text("{torn")
    store = FileStore(file)
    store.update(lambda state: (replace(state, serial=99), None))
    assert store.read().serial == 99


def test_a_change_does_not_wait_for_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(_: int) -> None:
        raise AssertionError("a simulated driver took as long as the disk")

    for sync in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, sync, waits)
    FileStore(file).update(lambda state: (replace(state, serial=99), None))
    assert FileStore(file).read().serial == 99


def test_writers_at_the_same_time_lose_nothing(file: Path) -> None:
    """Each opens the lock by itself, as processes do."""

    def add(_: int) -> None:
        FileStore(file).update(lambda state: (replace(state, serial=state.serial + 1), None))

    before = FileStore(file).read().serial
    with ThreadPoolExecutor(max_workers=4) as writers:
        list(writers.map(add, range(100)))
    assert FileStore(file).read().serial == before + 100
