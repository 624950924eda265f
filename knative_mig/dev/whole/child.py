"""`python -m knative_mig.dev.whole.child PARENT MODULE [ARGUMENT …]`: a process of ours that ends when `dev` does.

Started by `supervision`. Whatever ends `dev`, kill -9 too, the kernel then tells this process to end as its pod would
be told. The subtle thing is who counts as `dev`: the thread that started this one, so that thread lives as long as it.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, module: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel was asked
        return
    del sys.argv[0:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
