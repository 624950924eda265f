"""What was set aside at one start, and not at those before it."""

from pathlib import Path

from knative_mig.dev.state.set_aside import SetAside


def test_what_was_set_aside_since_is_told_and_what_was_before_is_not(tmp_path: Path) -> None:
    agent = tmp_path / "node-1" / "agent"
    agent.mkdir(parents=True)
    for name in ("journal.damaged-1", "handed-out.damaged", "journal"):
        (agent / name).write_text("old")
    one = SetAside(tmp_path)
    assert not list(one.since())
    (agent / "journal.damaged-2").hardlink_to(agent / "journal")
    (tmp_path / "node-1" / "allocations.damaged").touch()
    (agent / "new").touch()
    (agent / "new").replace(agent / "handed-out.damaged")
    begun = "and was begun anew"
    assert list(one.since()) == [
        f"{agent}/handed-out: it was damaged, is kept as handed-out.damaged {begun}",
        f"{agent}/journal: it was damaged, is kept as journal.damaged-2 {begun}",
        f"{tmp_path}/node-1/allocations: it was damaged, is kept as allocations.damaged {begun}",
    ]
