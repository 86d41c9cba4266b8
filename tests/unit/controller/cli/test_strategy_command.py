"""Options of a strategy become options of the commands about it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from controller.cli.plan import plan
from controller.cli.run import run
from controller.cli.strategy_command import StrategyCommand, strategy_options
from controller.strategies.table import STRATEGIES


@click.command(cls=StrategyCommand)
@strategy_options
@click.option("--trace", metavar="FILE", help="Where to.")
def asked(**given: object) -> None:
    """Prints what it was asked."""
    click.echo(json.dumps(given))


def parsed(*words: str) -> dict[str, object]:
    result = CliRunner().invoke(asked, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def test_an_option_of_the_strategy_stands_before_or_after_its_name() -> None:
    for words in (("instinfer", "--mini-batches", "3"), ("--mini-batches", "3", "--batch", "2", "instinfer")):
        assert parsed(*words)["strategy_options"] == {"mini_batches": "3"}
        assert parsed(*words)["strategy"] == "instinfer"


def test_the_long_form_of_an_option_is_taken_too_but_not_both() -> None:
    assert parsed("instinfer", "--option", "mini_batches=3")["strategy_options"] == {"mini_batches": "3"}
    result = CliRunner().invoke(asked, ("instinfer", "--option", "mini_batches=3", "--mini-batches", "3"))
    assert result.exit_code == 2
    assert "given twice" in result.output


def test_a_strategy_lacks_the_options_of_others_and_of_other_tasks() -> None:
    for words in (("gpu_only", "--mini-batches", "3"), ("instinfer", "--seq", "5")):
        result = CliRunner().invoke(asked, words)
        assert result.exit_code == 2
        assert "No such option" in result.output


def test_help_lists_the_options_of_the_named_strategy() -> None:
    named = CliRunner().invoke(run, ("instinfer", "--help")).output
    assert "--mini-batches" in named
    assert "--prompt-tokens" in named
    assert "--seq" not in named
    unnamed = CliRunner().invoke(run, ("--help",)).output
    assert "--mini-batches" not in unnamed
    assert "instinfer" in unnamed


def test_a_file_of_ones_own_may_train(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def train(run, scenario):\n    yield run.delay(1.0)\ntrain.task = 'training'\n")
    given = parsed(f"{path}:train", "--seq", "7", "--option", "depth=2")
    assert (given["seq"], given["steps"], given["strategy_options"]) == (7, 1, {"depth": "2"})


@pytest.mark.parametrize("command", [run, plan.commands["check"]])
def test_no_strategy_has_an_option_that_the_command_has(command: click.Command) -> None:
    taken = {name for parameter in command.params for name in parameter.opts}
    for entry in STRATEGIES.values():
        own = {f"--{name.replace('_', '-')}" for name in entry.options or {}}
        assert not own & taken, f"{entry.name}: {own & taken} would mean two things"


def test_a_stream_of_requests_is_not_taken_for_the_name_of_a_timeline(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(run, ("lamina", "--model", "tiny-opt", "--trace", "azure_conv"))
    assert result.exit_code != 0 and "--requests azure_conv" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("show",), ("check", "--live")])
def test_plan_complains_about_what_is_missing(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(plan, words).exit_code == 2
