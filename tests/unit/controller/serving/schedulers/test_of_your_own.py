"""The scheduler of `windtunnel help serving` runs, is short, and passes the suite."""

import re
from pathlib import Path
from typing import ClassVar

import pytest

import controller.cli
from controller.cli.main import main
from controller.conformance.scheduler_suite import SchedulerSuite

PAGE = Path(controller.cli.__file__).parent / "pages" / "serving.md"


def code() -> str:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "shortest.py"
    path.write_text(code())
    return path


def test_it_has_at_most_25_lines() -> None:
    assert len([line for line in code().splitlines() if line.strip()]) <= 25


class TestShortest(SchedulerSuite):
    scheduler: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def _named(self, file: Path) -> None:
        type(self).scheduler = f"{file}:decide"


def test_the_command_line_takes_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--model", "gpt-30m", "--topology", "a6000_ssd", "--requests", "inf", "--lengths", "in=20,out=5"]
    assert main([*words, "--num-prompts", "5", "--scheduler", f"{file}:decide"]) == 0
    assert "shortest.py:decide on 1 x 1 devices" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [("def other(): ...", "has no function 'decide'"), ("1 / 0", "ZeroDivisionError"), (None, "no scheduler file")],
)
def test_a_file_without_a_scheduler_is_refused(
    text: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    words = ["serve", "--model", "gpt-30m", "--topology", "a6000_ssd", "--requests", "inf", "--lengths", "in=20,out=5"]
    assert main([*words, "--scheduler", f"{path}:decide"]) == 2
    assert said in capsys.readouterr().err
