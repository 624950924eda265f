"""The exception of the testbed: a line that says what is wrong and what to do.

`__main__` prints it and exits with its `exit_code`.
"""


class ClusterError(Exception):
    """Something failed while running; exit code 1."""

    exit_code = 1


class BadInputError(ClusterError):
    """The machine or the call is not fit for the testbed, and nothing was started; exit code 2."""

    exit_code = 2
