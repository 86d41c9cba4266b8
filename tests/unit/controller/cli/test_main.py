"""The error boundary, the table of commands, and what help shows."""

import signal
import subprocess
import sys

import click
import pytest

from controller.cli import main as cli
from controller.errors import DeviceUnreachable, OutOfMemory, UnknownModel
from node.errors import BadQuantity, TierFull


@pytest.fixture
def failing(monkeypatch):
    """Makes the command ``devices`` raise what the test wants."""

    def install(error: BaseException) -> None:
        @click.command()
        def broken() -> None:
            raise error

        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: broken)

    return install


@pytest.fixture(autouse=True)
def restore_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownModel("no model 'x'"), 2),
        (BadQuantity("'3' has no unit"), 2),
        (DeviceUnreachable("csd0 does not answer", "csd0"), 1),
        (OutOfMemory("gpu", "hbm", 10, 4, 8), 1),
        (TierFull("gpu", "hbm", 10, 4, 8), 1),
        (KeyboardInterrupt(), 130),
        (click.UsageError("no such thing"), 2),
    ],
)
def test_errors_become_a_message_and_an_exit_code(failing, capsys, error, status):
    failing(error)
    assert cli.main(["devices"]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (str(error) or "interrupted").splitlines()[-1] in captured.err
    assert "Traceback" not in captured.err


def test_a_mistake_of_ours_keeps_its_traceback(failing):
    failing(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["devices"])


def test_an_unknown_command_names_the_nearest(capsys):
    assert cli.main(["topolgy"]) == 2
    assert "did you mean 'topology'?" in capsys.readouterr().err


def test_help_lists_every_command_with_its_line(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, line) in cli.COMMANDS.items():
        assert name in shown and line.split()[0] in shown


def test_version_is_that_of_the_distribution(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("windtunnel, version 0.")


def test_being_terminated_runs_every_clean_up():
    script = (
        "import os, signal, sys, click\n"
        "from controller.cli import main as cli\n"
        "@click.command()\n"
        "def wait():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "cli.LazyGroup.get_command = lambda self, ctx, name: wait\n"
        "sys.exit(cli.main(['wait']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (143, "cleaned up")


def test_a_reader_that_goes_away_is_no_crash():
    command = f"{sys.executable} -m controller.cli.main devices --all --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "["
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
