"""How hypothesis draws: the same examples each time, so that a change is judged by what it changed.

`--hypothesis-profile=explore` draws new ones, and plays first what failed before. How long an example takes says
nothing on a busy machine: neither a slow one nor slow drawing fails a test.
"""

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_FAILED_BEFORE = DirectoryBasedExampleDatabase(".hypothesis/examples")

settings.register_profile("the same", _ANY_MACHINE, derandomize=True, database=None)
settings.register_profile("explore", _ANY_MACHINE, derandomize=False, database=_FAILED_BEFORE, print_blob=True)
settings.load_profile("the same")
