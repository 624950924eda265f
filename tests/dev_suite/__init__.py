"""The suite that drives a whole `knative-mig dev` with the clients that people have: kn, kubectl, curl, openai.

`make e2e-dev` runs it. One `dev` serves most tests side by side, each in a namespace of its own; what breaks or ends
one has one of its own.
"""

from typing import Final

SHARED_VARIABLE: Final = "KNATIVE_MIG_DEV_SUITE"  # the file that says where the shared one is
# Two nodes: functions on an A100 come and go; the H100 is for the one test that wants all of a GPU.
FLEET: Final = ("--gpus", "2xA100-40GB,1xH100-80GB", "--speed", "10")
