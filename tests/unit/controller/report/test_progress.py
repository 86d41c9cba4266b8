"""Progress in a pipe is a line per tenth, and in a terminal a bar."""

import io

from controller.report.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_pipe_gets_a_line_per_tenth():
    stream = io.StringIO()
    with progress(stream) as tell:
        for done in range(101):
            tell(done, 100, "decode")
    lines = stream.getvalue().splitlines()
    assert lines == [f"decode: {done}/100" for done in range(10, 101, 10)]


def test_short_work_is_told_step_by_step_and_each_kind_for_itself():
    stream = io.StringIO()
    with progress(stream) as tell:
        for what in ("prefill", "decode"):
            for done in (1, 2):
                tell(done, 2, what)
    assert stream.getvalue().splitlines() == ["prefill: 1/2", "prefill: 2/2", "decode: 1/2", "decode: 2/2"]


def test_a_single_step_is_told_when_it_begins():
    stream = io.StringIO()
    with progress(stream) as tell:
        tell(0, 1, "starting the nodes")
        assert stream.getvalue() == "starting the nodes\n"
        tell(1, 1, "starting the nodes")
    assert stream.getvalue() == "starting the nodes\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress(stream) as tell:
        tell(1, 4, "decode")
    assert "decode" in stream.getvalue()
    assert "1/4" in stream.getvalue()


def test_a_run_of_minutes_says_once_how_long_it_takes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("controller.report.progress.wall_clock_s", lambda: now[0])
    stream = io.StringIO()
    with progress(stream) as tell:
        for done in range(1, 301):
            tell(done, 1_000_000, "training")
            tell(done, 600, "short")
            now[0] += 0.01
    assert stream.getvalue().splitlines() == [
        *(f"short: {done}/600" for done in (60, 120, 180)),
        "training: 201/1000000, about 3 h left",
        *(f"short: {done}/600" for done in (240, 300)),
    ]
