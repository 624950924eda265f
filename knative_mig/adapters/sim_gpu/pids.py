"""Whether a process on a simulated slice is still the one that was put there."""

from pathlib import Path


def start_time(pid: int) -> int | None:
    """In clock ticks since boot: with the pid it names a process for as long as the machine runs. None when it is gone
    or a zombie, which holds no memory of a GPU any more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, and may itself hold brackets and spaces.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])
