"""What a verb may print: in colour only to a terminal that can, unless its user asked for none (no-color.org)."""

import os
import sys


def in_colour() -> bool:
    return is_screen() and not os.environ.get("NO_COLOR")


def is_screen() -> bool:
    """Whether what was printed can be printed over."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
