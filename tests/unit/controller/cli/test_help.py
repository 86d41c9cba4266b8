"""`windtunnel help`: every topic prints, a mistyped one names the nearest, and nothing heavy is loaded."""

import pytest

from controller.cli import main as cli
from controller.cli.topics import PAGES, packages, text_of
from controller.errors import UnknownTopic
from controller.strategies.table import STRATEGIES


@pytest.mark.parametrize("topic", [*PAGES, "strategies", *packages("controller"), *packages("node"), "errors"])
def test_every_topic_has_a_text(topic):
    assert len(text_of(topic)) > 60


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_shows_its_options_and_its_paper(name):
    text = text_of("strategies", name)
    assert text.startswith(f"{name}: {STRATEGIES[name].summary}")
    assert all(f"--{option.replace('_', '-')} " in text for option in STRATEGIES[name].options or {})
    assert "Paper:" in text


def test_the_overview_names_every_page(capsys):
    assert cli.main(["help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in PAGES)
    assert "engine" in shown


def test_a_command_is_a_topic_with_its_options(capsys):
    assert cli.main(["help", "plan"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: windtunnel plan ")
    assert "a plan is a DAG of four ops" in shown, "the design notes of the package come after"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["enginee"], "did you mean 'engine'?"),
        (["exitcodes"], "did you mean 'exit-codes'?"),
        (["reproduse"], "did you mean 'reproduce'?"),
        (["strategies", "instinfr"], "did you mean 'instinfer'?"),
        (["engine", "solvr"], "did you mean 'solver'?"),
        (["xyzzy"], "no topic 'xyzzy'. `windtunnel help` lists"),
        (["accuracy", "gemm"], "has nothing inside"),
    ],
)
def test_a_mistyped_topic_names_the_nearest(capsys, words, meant):
    assert cli.main(["help", *words]) == 2
    assert meant in capsys.readouterr().err


def test_no_name_leaves_the_source():
    for word in ("../controller", "..", ".", "/etc/passwd", "engine/solver"):
        with pytest.raises(UnknownTopic):
            text_of(word)


def test_paragraphs_fill_the_terminal_and_code_stays(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["help", "strategy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    def streamed(run, scenario):" in lines
    prose = [line for line in lines if line and not line.startswith(" ")]
    assert max(map(len, prose)) <= 60
    assert not [line for line in lines if "```" in line]
