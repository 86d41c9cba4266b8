"""The HTML report: one file, nothing loaded, nothing unescaped, the same bytes for the same run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from controller.errors import UserError
from controller.execute.critical import PathSegment
from controller.execute.strips import Strips
from controller.execute.trace import Span, Trace
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.html import write_run_report
from controller.report.page import Section, table_section, write_page
from controller.report.plots import bar_plot, grows_by_factors, line_plot
from controller.report.timeline import MOST_SPANS, timeline_section

EVIL = "</script><script>alert(1)</script>"


def written(path: Path) -> str:
    request = RunSpec("instinfer", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3, explain=True, report=path)
    write_run_report(run_experiment(request), path)
    return path.read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("page") / "a.html")


def test_a_run_becomes_a_page_with_every_section(page: str) -> None:
    for title in ("critical path", "what was busy", "occupancy of every tier", "timeline", "assumed constants"):
        assert f"<h2>{title}</h2>" in page
    assert "decode_attention" in page
    HTMLParser().feed(page)


def test_the_page_loads_nothing(page: str) -> None:
    loaded = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"'#][^\"']*)", page)
    assert [target for target in loaded if not target.startswith("#")] == []


def test_the_same_run_gives_the_same_bytes(page: str, tmp_path: Path) -> None:
    wall = re.compile(r"[0-9.]+ .?s wall")
    assert wall.sub("", written(tmp_path / "b.html")) == wall.sub("", page)


def test_numbers_of_a_table_are_set_right_and_sentences_are_not() -> None:
    rows = [("gpu", "1.5 GB/s", "8 modules of 64 GiB, one a channel"), ("cpu", None, "no figure")]
    section = table_section("t", ("device", "value", "why"), rows)
    assert [head.number for head in section.columns] == [False, True, False]
    assert [[cell.number for cell in row] for row in section.rows] == [[False, True, False]] * 2


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    trace = Trace(spans=[Span("gpu", EVIL, EVIL, 0.0, 1.0)])
    path = tmp_path / "evil.html"
    write_page(EVIL, [table_section(EVIL, (EVIL,), [(EVIL,)]), timeline_section(trace, 1.0)], path)
    assert "alert(1)</script>" not in path.read_text()


def test_a_long_timeline_says_what_it_leaves_out() -> None:
    trace = Trace(spans=[Span("gpu", "stream", "op", i, i + 1) for i in range(MOST_SPANS + 5)])
    section = timeline_section(trace, float(MOST_SPANS + 5))
    assert "later ones are left out" in section.note


def _timeline(section: Section) -> dict:
    return json.loads(section.timeline["data"])


def test_a_timeline_of_many_spans_covers_the_whole_run_in_bins() -> None:
    strips = Strips()
    count = MOST_SPANS + 4000
    spans = [Span("gpu", "stream", "ab"[i % 2], float(i), i + 0.5) for i in range(count)]
    for span in spans:
        strips.add_span(span.device, span.track, span.name, span.start_at, span.end_at)
    section = timeline_section(Trace(spans=spans, strips=strips), float(count))
    data = _timeline(section)
    assert len(data["spans"]) == MOST_SPANS
    assert min(start for _, _, start, _, _ in data["bins"]) <= MOST_SPANS
    assert max(end for _, _, _, end, _ in data["bins"]) >= count - 0.5
    assert all(share == pytest.approx(0.5, abs=0.02) for *_, share in data["bins"][:-1])
    assert "every op is drawn" in section.note


def test_the_critical_path_is_the_first_track() -> None:
    trace = Trace(spans=[Span("cpu", "core", "op", 0.0, 1.0)])
    data = _timeline(timeline_section(trace, 1.0, [PathSegment("op", "cpu", 0.0, 1.0)]))
    assert data["tracks"] == ["critical path", "cpu core"]
    assert [0, 0, 0.0, 1.0] in data["spans"]


def test_strips_keep_busy_time_however_often_they_fold() -> None:
    strips = Strips()
    for number in range(3000):
        strips.add_span("gpu", "stream", "op", number * 0.01, number * 0.01 + 0.004)
    strips.add_span("gpu", "stream", "long", 30.0, 300.0)
    total = sum(each.share * strips.width_s for each in strips.bins())
    assert total == pytest.approx(3000 * 0.004 + 270.0)


def test_a_doubling_sweep_has_a_logarithmic_axis() -> None:
    assert grows_by_factors([1.0, 2.0, 4.0]) and grows_by_factors([16.0, 64.0, 256.0])
    assert not grows_by_factors([1.0, 2.0, 3.0, 4.0]) and not grows_by_factors([1.0, 2.0])
    doubling = line_plot({"a": [(1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (8.0, 8.0)]}, "batch", "tokens/s")
    assert doubling.count(">8</text>") >= 1


def test_plots_show_what_did_not_run() -> None:
    assert "does not run" in bar_plot(("a", "b"), (1.0, None), "tokens/s")
    assert "a line" in line_plot({"a line": [(1.0, 2.0), (2.0, 3.0)]}, "x", "y")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_page("title", [Section("empty")], tmp_path / "absent" / "report.html")
