"""Every command that the README or a help page shows exists, with the options that it shows."""

import re
import shlex
from pathlib import Path

import click
import pytest

from controller.cli.main import COMMANDS, windtunnel
from controller.cli.strategy_command import StrategyCommand
from controller.strategies.table import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]


def shown_commands() -> list[str]:
    """The lines of console blocks that start windtunnel, of the README and of every help page; prompts removed."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "controller/cli/pages").glob("*.md")))]
    blocks = [block for text in texts for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)]
    lines = [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("windtunnel ")))


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that `words` call, and what is left of them for its parameters."""
    command: click.Command = windtunnel
    context = click.Context(windtunnel)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    return command, words


def parameters(command: click.Command, words: list[str]) -> list[click.Parameter]:
    """What `command` takes; with those of the strategy that the words name, where it is one of the table."""
    context = click.Context(command)
    if isinstance(command, StrategyCommand) and words and words[0] in STRATEGIES:
        with context:
            command.parse_args(context, [words[0]])
    return command.get_params(context)


@pytest.mark.parametrize("line", shown_commands())
def test_a_shown_command_parses(line):
    words = shlex.split(line, comments=True)
    for stop in ("|", ">", "&&", ";", "&"):
        if stop in words:
            words = words[: words.index(stop)]
    command, rest = resolve(words[1:])
    known = {option for parameter in parameters(command, rest) for option in parameter.opts}
    known |= {"--help", "-h", "--version"}
    shown = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
    assert shown <= known, f"{line}: no option {sorted(shown - known)}"
    assert not isinstance(command, click.Group) or shown & {"--help", "-h", "--version"}, f"{line}: names no command"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_is_shown(name):
    command, _ = resolve([name])
    assert command.help, f"{name} says nothing about itself"
    shown = [line for line in shown_commands() if line.split()[1] == name]
    assert shown, f"neither README nor `help commands` shows an example of {name}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160, "move what is not a front door to a help page"


@pytest.mark.parametrize("root", ["node", "controller"])
def test_the_map_has_every_package(root):
    text = (ROOT / "controller/cli/pages/map.md").read_text()
    folders = {path.parent.name for path in (ROOT / root).glob("*/__init__.py")} - {"rpc"}
    assert not [name for name in sorted(folders) if f"{name}/" not in text], "a folder is in no line of the map"
