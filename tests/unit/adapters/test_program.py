"""A process ends with its exit code and one line for people, whatever its threads wait for."""

import subprocess
import sys
import threading
import time

import pytest

from knative_mig.adapters.threads import Threads

WAITS_FOR_EVER = "threading.Thread(target=threading.Event().wait).start()"


@pytest.mark.parametrize(
    ("does", "code", "says"),
    [
        pytest.param("return 0", 0, "", id="told to end"),
        pytest.param("return 1", 1, "", id="a thread failed"),
        pytest.param("raise errors.BadInput('no such thing')", 2, "planner: no such thing\n", id="bad input"),
        pytest.param("raise errors.GpuError('it burns')", 1, "planner: it burns\n", id="a failure with a name"),
        pytest.param("raise OSError('the port is taken')", 1, "planner: the port is taken\n", id="the system's"),
    ],
)
def test_it_ends_at_once_with_a_code_and_a_reason(does: str, code: int, says: str) -> None:
    program = f"""
import threading
from knative_mig.adapters.program import run_program
from knative_mig.core import errors

def body():
    {WAITS_FOR_EVER}
    print("what was said is not lost")
    {does}

run_program("planner", body, log_level="info")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (code, says)
    assert ended.stdout == "what was said is not lost\n"


PROCESS = """
import os, signal, threading
from knative_mig.adapters.program import run_until_told
from knative_mig.adapters.threads import Threads

class Process:
    def __init__(self):
        self.stop = threading.Event()
        self.threads = Threads(self.stop)

    @property
    def failed(self):
        return self.threads.failed

    def start(self):
        self.threads.run("work", BODY)

    def end(self):
        print("ended", self.threads.why_unhealthy())

def fail(stop):
    raise ValueError("it burns")

print(run_until_told(Process()))
"""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("lambda stop: os.kill(os.getpid(), signal.SIGTERM)", "ended \n0\n", id="told to end"),
        pytest.param("lambda stop: os.kill(os.getpid(), signal.SIGINT)", "ended \n0\n", id="interrupted"),
        pytest.param(
            "lambda stop: stop.wait(0.5) or signal.pthread_kill(threading.get_ident(), signal.SIGTERM)",
            "ended \n0\n",
            id="told to end by a signal that another thread than the main one is given",
        ),
        pytest.param("fail", "ended thread work failed\n1\n", id="a thread failed"),
    ],
)
def test_it_runs_until_it_is_told_to_end_or_a_thread_of_it_fails(body: str, says: str) -> None:
    program = PROCESS.replace("BODY", body)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, says)


def test_who_is_told_again_in_the_midst_of_hearing_it_ends_all_the_same() -> None:
    told_again = """
class Stop(threading.Event):
    def set(self):
        with self._cond:
            signal.raise_signal(signal.SIGTERM)
        super().set()
"""
    body = "lambda stop: os.kill(os.getpid(), signal.SIGTERM)"
    program = told_again + PROCESS.replace("BODY", body).replace("self.stop = threading.Event()", "self.stop = Stop()")
    program = f"import signal, threading\n{program}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ended \n0\n")


def test_who_was_never_run_for_the_start_failed_before_it_is_not_waited_for() -> None:
    assert Threads(threading.Event()).join("work", time.monotonic())
