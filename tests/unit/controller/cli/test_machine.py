"""What the machine lacks ends a command with one line and its exit code, never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m controller.cli.main"


def ended(words: str, *, before: str = "", **environment: str) -> tuple[int, str]:
    """Exit code and everything that was written by a command in a shell."""
    found = subprocess.run(
        ["bash", "-c", f"{before} {COMMAND} {words}"],
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return found.returncode, (found.stdout + found.stderr).decode(errors="replace")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("models >/dev/full", 1, "windtunnel: the output cannot be written: No space left on device"),
        ("devices h100_sxm --json >/dev/full", 1, "windtunnel: the output cannot be written: No space left on device"),
        ("models <&- >&- 2>&-", 0, ""),
        ("nope <&- >&- 2>&-", 2, ""),
        ("nope 2>/dev/full", 2, ""),
        ("run fuyou --topology nope 2>/dev/full", 2, ""),
        ("run $'\\xff\\xfe'", 2, "is not UTF-8; write it in UTF-8"),
    ],
)
def test_streams_and_words(words: str, code: int, says: str) -> None:
    found, text = ended(words)
    assert (found, "Traceback" in text, "Exception ignored" in text) == (code, False, False), text
    assert says in text
    assert len(text.splitlines()) <= 1 or not says


def test_a_closed_stream_is_not_taken_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "page.json"
    code, text = ended(f"models --json >{file} 2>&-")
    assert code == 0 and not text and file.read_text().startswith(("[", "{"))


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_letters_beyond_the_locale(locale: dict[str, str]) -> None:
    code, text = ended("run 'größe'", **locale)
    assert code == 2 and "Traceback" not in text and "not UTF-8" not in text, text


def test_a_limit_on_memory() -> None:
    words = "-c 'import sys; from controller.cli import main as m; m.windtunnel.main = lambda **_: bytearray(1 << 40);"
    found = subprocess.run(
        ["bash", "-c", f'ulimit -v 4000000; {sys.executable} {words} sys.exit(m.main([]))\''],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("windtunnel: out of memory of this machine; ") and found.stderr.count("\n") == 1


def test_attention_that_does_not_fit_is_a_result() -> None:
    code, text = ended("attention ring --ranks 2 --set gpu.hbm.capacity='1 MB'")
    assert code == 0 and "ring: OOM at " in text and " bytes missing" in text and "Traceback" not in text, text
