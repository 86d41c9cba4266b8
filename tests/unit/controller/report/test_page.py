"""The HTML report: one file, nothing loaded, nothing unescaped, the same bytes for the same run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from controller.errors import UserError
from controller.execute.trace import Span, Trace
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.html import write_run_report
from controller.report.page import MOST_SPANS, Section, table_section, timeline_section, write_page
from controller.report.plots import bar_plot, line_plot

EVIL = "</script><script>alert(1)</script>"


def written(tmp_path: Path, name: str = "report.html") -> str:
    path = tmp_path / name
    request = RunSpec("instinfer", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3, explain=True, report=path)
    write_run_report(run_experiment(request), path)
    return path.read_text()


def test_a_run_becomes_a_page_with_every_section(tmp_path: Path) -> None:
    text = written(tmp_path)
    for title in ("critical path", "what was busy", "occupancy of every tier", "timeline", "assumed constants"):
        assert f"<h2>{title}</h2>" in text
    assert "decode_attention" in text
    HTMLParser().feed(text)


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text = written(tmp_path)
    loaded = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"'#][^\"']*)", text)
    assert [target for target in loaded if not target.startswith("#")] == []


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    wall = re.compile(r"[0-9.]+ .?s wall")
    one, other = (wall.sub("", written(tmp_path, name)) for name in ("a.html", "b.html"))
    assert one == other


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    trace = Trace(spans=[Span("gpu", EVIL, EVIL, 0.0, 1.0)])
    path = tmp_path / "evil.html"
    write_page(EVIL, [table_section(EVIL, (EVIL,), [(EVIL,)]), timeline_section(trace, 1.0)], path)
    assert "alert(1)</script>" not in path.read_text()


def test_a_long_timeline_says_what_it_leaves_out() -> None:
    trace = Trace(spans=[Span("gpu", "stream", "op", i, i + 1) for i in range(MOST_SPANS + 5)])
    section = timeline_section(trace, float(MOST_SPANS + 5))
    assert "5 later ones" in section.note


def test_plots_show_what_did_not_run() -> None:
    assert "does not run" in bar_plot(("a", "b"), (1.0, None), "tokens/s")
    assert "a line" in line_plot({"a line": [(1.0, 2.0), (2.0, 3.0)]}, "x", "y")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_page("title", [Section("empty")], tmp_path / "absent" / "report.html")
