"""Whether to print in colour: to a terminal that can, unless its user asked for none (no-color.org)."""

import os
import sys


def in_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
