"""``windtunnel``: the table of commands, and the one place where errors become messages and exit codes.

Exit codes: 0 it worked, 1 the run itself failed, 2 the input is wrong (message, no traceback), 130 interrupted,
143 terminated. Whatever else escapes is a mistake of windtunnel and keeps its traceback.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import click

from controller.cli.machine import exhausted, forget_output, open_standard_streams, utf8_words
from controller.cli.memory_budget import VARIABLE, budget_bytes, memory_budget
from controller.errors import UserError, WindtunnelError
from controller.nearest import nearest
from node.errors import NodeError, UserInput

COMMANDS: dict[str, tuple[str, str]] = {
    "help": ("controller.cli.help:help_command", "Explain a topic: example commands, strategies, design notes."),
    "run": ("controller.cli.run:run", "Run a strategy on the virtual clock, or live on node processes."),
    "serve": ("controller.cli.serve:serve", "Serve requests that arrive, with a scheduler, on the virtual clock."),
    "compare": ("controller.cli.compare:compare", "One model and workload across strategies and topologies."),
    "reproduce": ("controller.cli.reproduce:reproduce", "Compare published tables with ours, row by row."),
    "collective": (
        "controller.cli.collective:collective",
        "Time collectives as nccl-tests does, and prove their data live.",
    ),
    "attention": (
        "controller.cli.attention:attention",
        "Time attention over one long prompt on several devices, and prove its values live.",
    ),
    "fault": ("controller.cli.fault.group:fault", "Declare faults, find and blame them, and see what survives."),
    "torch": ("controller.cli.torch:torch", "Time an unmodified PyTorch program on a declared cluster."),
    "plan": ("controller.cli.plan:plan", "Look at what a strategy would do, without running it."),
    "strategies": ("controller.cli.lists:strategies", "The strategies, their topologies and their options."),
    "models": ("controller.cli.lists:models", "The models by name."),
    "topology": ("controller.cli.topology:topology", "Check and show declared clusters."),
    "devices": ("controller.cli.devices:devices", "The catalog of devices, every constant with its source."),
    "predict": ("controller.cli.predict:predict", "How long one op takes alone on a device, and what bounds it."),
    "validate": ("controller.cli.validate:validate", "Compare measurements with the device models."),
    "calibrate": ("controller.cli.calibrate:calibrate", "Fit a device's constants to measurements; write its sheet."),
    "up": ("controller.cli.nodes:up", "Start the nodes of a topology and leave them running."),
    "ps": ("controller.cli.nodes:ps", "List the nodes that are running."),
    "down": ("controller.cli.nodes:down", "Stop nodes that `up` started."),
}
"""Name to (``module:attribute``, one line for the overview), in the order of the overview."""

FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command called `cmd_name`, imported now.

        Raises:
            UsageError: there is none; names the nearest one.
        """
        if cmd_name not in COMMANDS:
            hint = nearest(cmd_name, COMMANDS)
            raise click.UsageError(f"no command {cmd_name!r}; {hint}", ctx)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command, a virtual one within its memory budget."""
        limit = budget_bytes(ctx.params.get("memory_budget"))
        if {"--live", "--ray", "up", "ps", "down"}.intersection([*ctx._protected_args, *ctx.args]):
            return super().invoke(ctx)
        with memory_budget(limit):
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the overview from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="windtunnel", prog_name="windtunnel")
@click.option(
    "--memory-budget",
    metavar="SIZE",
    envvar=VARIABLE,
    help=f"Most memory that a virtual command takes, like '8 GiB'; or {VARIABLE}.  [default: half of the machine's]",
)
def windtunnel(memory_budget: str | None) -> None:
    """Emulates a declared cluster: is this offloading or communication scheme correct, and how fast would it be?"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code.

    Args:
        arguments: words after the program's name; None takes those of the process.
    """
    open_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        words = utf8_words(sys.argv[1:] if arguments is None else arguments)
        status = windtunnel.main(args=words, prog_name="windtunnel", standalone_mode=False)
        sys.stdout.flush()  # what cannot be written is found out here, where it has an exit code
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED)
    except (UserError, UserInput) as error:
        return _complain(str(error), WRONG_INPUT)
    except (WindtunnelError, NodeError) as error:
        return _complain(str(error), FAILED)
    except BrokenPipeError:
        # Whoever read our output went away (`| head`); the interpreter must not complain about flushing the rest.
        forget_output()
        return FAILED
    except (MemoryError, OSError, ImportError) as error:
        message = exhausted(error)
        if message is None:
            raise
        forget_output()
        return _complain(message, FAILED)


def _complain(message: str, status: int) -> int:
    with suppress(OSError):  # nowhere to complain to; the exit code says it
        click.echo(f"windtunnel: {message}", err=True)
    return status


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leaves through every `finally` and context manager, so that nodes are stopped and segments removed."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
