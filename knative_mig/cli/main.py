"""The `knative-mig` command: finds the verb, and turns every error into one line and an exit code.

Exit codes: 0 ok, 1 failed or not legal, 2 bad input or usage, 3 not ready in time, 70 a defect of ours (as sysexits
calls it). A verb is a module that is imported when it is called and not before, so that `--help` answers at once: at
the top of this file stand click and nothing else.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from knative_mig.core.errors import BadInput, KnativeMigError, NotReadyInTime

# verb: (the module whose `command` it is, its line in --help)
VERBS: Final = {
    "dev": ("knative_mig.cli.dev", "Run the whole system on this machine, without a cluster and a GPU."),
    "gpus": ("knative_mig.cli.gpus", "Show every GPU's slots, and who has them."),
    "invoke": ("knative_mig.cli.invoke", "Ask a function, and watch its cold start."),
    "kubeconfig": ("knative_mig.cli.kubeconfig", "Say where the client file of the running dev is."),
    "layouts": ("knative_mig.cli.layouts", "Check files of MIG layouts without a GPU."),
    "ls": ("knative_mig.cli.ls", "List functions, their state, slices and URLs."),
    "plan": ("knative_mig.cli.plan", "Decide which slices to make for waiting functions, and say why."),
    "profiles": ("knative_mig.cli.profiles", "Show what each GPU model can be cut into."),
    "usage": ("knative_mig.cli.usage", "Show how much of whole GPUs each namespace has used."),
}

FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_IN_TIME: Final = 3
INTERNAL: Final = 70
INTERRUPTED: Final = 130


class _Verbs(click.Group):
    """click's way to import a command late is to override these three."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb][1]) for verb in self.list_commands(ctx)])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]}, subcommand_metavar="VERB ...")
@click.version_option(package_name="knative-mig", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an internal error.")
def command() -> None:
    """LLM functions on NVIDIA MIG slices, as a Knative Serving extension.

    Exit codes: 0 ok, 1 failed or not legal, 2 bad input or usage, 3 not ready in time.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """What `__main__` calls, and tests; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:  # closed by the caller (`>&-`): Python has no object for it
            return _say(f"standard stream {number} is closed: legal is open, /dev/null if need be", FAILED)
    try:
        code = command.main(given, prog_name="knative-mig", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message())
        return 0
    except click.ClickException as error:
        return _usage(error)
    except click.Abort:
        return INTERRUPTED
    except BadInput as bad:
        return _say(str(bad), BAD_INPUT)
    except NotReadyInTime as late:
        return _say(str(late), NOT_IN_TIME)
    except KnativeMigError as error:
        return _say(f"{error.reason}: {error}", FAILED)
    except OSError as error:  # whatever can go wrong in reading is a BadInput already
        if error.filename:
            return _say(f"{error.filename}: {error.strerror}", FAILED)
        _drop_output()
        return (
            FAILED if isinstance(error, BrokenPipeError) else _say(f"cannot write: {error.strerror or error}", FAILED)
        )
    except Exception as error:  # noqa: BLE001  (the last resort: a person gets a line, never a traceback unasked)
        if "--debug" in given:
            traceback.print_exc()
        return _say(
            f"internal error: {type(error).__name__}: {error} (please report it, with the output of "
            f"knative-mig --debug {' '.join(each for each in given if each != '--debug')})",
            INTERNAL,
        )
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "knative-mig"
    return _say(f"{path}: {error.format_message()} Try '{path} --help'.", BAD_INPUT)


def _say(message: str, code: int) -> int:
    """On one line, whatever is in it: a file's name may hold a line break, or bytes that are no text."""
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in message)
    click.echo(line, err=True)
    return code


def _drop_output() -> None:
    """The reader of our output is gone (`| head`) or its disk is full: what is buffered must not be tried again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
