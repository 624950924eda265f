"""Starts the `knative-mig` command: the console script's, and that of `python -m knative_mig.cli`.

Ctrl-C while the command is imported ends it without a word, where Python would print what it was just importing.
"""

import signal
import sys


def main() -> int:
    """The exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else whoever started this has said how it is
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from knative_mig.cli.main import main as command  # noqa: PLC0415  what this is for

    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    sys.exit(main())
