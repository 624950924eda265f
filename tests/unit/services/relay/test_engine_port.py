"""The port that a relay tells its engine stays free until the engine listens there, though nobody can keep it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from services.relay.engine_port import answers, free_port, own_number

LINUX_GIVES_FROM = 32_768  # to whoever asks for any


def test_it_is_none_that_is_given_by_chance_nor_that_of_a_relay_that_starts_now() -> None:
    ports = [free_port(process) for process in (1, 5000, 5001, 4_194_304)]
    assert max(ports) < LINUX_GIVES_FROM
    assert len(set(ports)) == len(ports)


def test_one_that_is_taken_is_passed_over() -> None:
    port = free_port(5000)
    with socket.create_server(("127.0.0.1", port)):
        assert answers(port)
        assert free_port(5000) not in {port, free_port(5001)}
    assert not answers(port)


def test_the_first_process_of_a_container_is_another_than_that_of_the_next_one() -> None:
    """They may be of one pod, which has one address."""
    code = "from services.relay.engine_port import own_number; print(own_number())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(other.stdout) != own_number()
    assert own_number() - os.getpid() == Path("/proc/self/ns/pid").stat().st_ino
