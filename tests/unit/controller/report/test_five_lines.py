"""The five lines of a result: five, in 80 columns, whatever ran."""

import pytest

from controller.cli.main import main
from controller.execute.path_shares import PathShare
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.five_lines import LABELS, FiveLines, bound_text, device_time, first_fitting
from controller.report.run_lines import run_lines
from controller.report.tables import table, without_empty


def lines_of(request: RunSpec) -> list[str]:
    return run_lines(run_experiment(request)).text().splitlines()


@pytest.mark.parametrize(
    "request_",
    [
        RunSpec("flexgen", "opt-13b", batch=4, output_tokens=4),
        RunSpec("train_gpu_only", "gpt2-xl", "dgx_h100", ("gpu.count=1",), batch=4),
        RunSpec("gpu_only", "llama3-70b"),
    ],
    ids=["generation", "training", "out of memory"],
)
def test_a_run_says_five_lines_in_80_columns(request_):
    lines = lines_of(request_)
    assert [line[:12].strip() for line in lines] == list(LABELS)
    assert max(map(len, lines)) <= 80
    assert request_.strategy in lines[0]


def test_flexgen_is_bound_by_its_software_path_and_not_by_its_busiest_queue():
    lines = lines_of(RunSpec("flexgen", "opt-13b", batch=4, output_tokens=16))
    assert "s on that hardware (device time)" in lines[1]
    assert "tokens/s" in lines[2]
    assert "software path (80 % kv append" in lines[3]
    assert lines[4].startswith("values      not checked")


def test_a_run_that_does_not_fit_says_what_is_missing():
    lines = lines_of(RunSpec("gpu_only", "llama3-70b"))
    assert "out of memory: gpu.hbm holds 51.5 GB, the run needs 141 GB" in lines[1]
    assert "tokens/s" not in lines[2]


def test_the_bound_names_as_many_parts_as_fit():
    shares = [PathShare("read", "csd0.flash", 6.0, 0.6), PathShare("mul", "gpu arithmetic", 3.0, 0.3)]
    assert bound_text(shares) == "60 % csd0.flash (read), 30 % gpu arithmetic (mul)"
    assert bound_text(shares, room=44) == "60 % csd0.flash (read), 30 % gpu arithmetic"
    assert bound_text(shares, room=24) == "60 % csd0.flash (read)"
    assert bound_text([]) == "nothing: no time passed"


def test_a_part_below_the_least_share_is_left_to_the_explanation():
    shares = [PathShare("read", "flash", 9.8, 0.98), PathShare("mul", "arithmetic", 0.2, 0.02)]
    assert bound_text(shares) == "98 % flash (read)"


def test_texts_that_do_not_fit_give_way_to_shorter_ones():
    assert first_fitting(["a" * 81, "b" * 40], room=68) == "b" * 40
    assert device_time(1.0, ["prefill 1 s"]) == "1 s on that hardware (device time): prefill 1 s"
    assert device_time(1.0, ["prefill 1 s", "x" * 30]) == f"1 s device time: prefill 1 s, {'x' * 30}"
    assert FiveLines("x" * 100, "", "", "", "").text("# ").splitlines()[0].endswith("xxx...")


def test_no_phase_is_left_out():
    phases = [f"phase {number} {'x' * 20}" for number in range(5)]
    text = FiveLines("", device_time(1.0, phases), "", "", "").text("# ")
    assert all(phase in text for phase in phases)
    assert max(map(len, text.splitlines())) <= 80
    assert [line[:14] for line in text.splitlines()[1:4]] == ["# time        ", "#             ", "#             "]


def test_a_collective_says_five_comment_lines(capsys):
    assert main(["collective", "all_reduce", "--ranks", "4", "-b", "64K", "-e", "64K"]) == 0
    lines = capsys.readouterr().out.splitlines()[:5]
    assert [line[2:14].strip() for line in lines] == list(LABELS)
    assert all(line.startswith("# ") and len(line) <= 80 and "..." not in line for line in lines)
    assert "% " in lines[3] and "busbw" in lines[2]


def test_attention_names_the_fastest_scheme(capsys):
    assert main(["attention", "--ranks", "4", "--seq", "4096"]) == 0
    lines = capsys.readouterr().out.splitlines()[:5]
    assert [line[:12].strip() for line in lines] == list(LABELS)
    assert "the fastest" in lines[1] and all(len(line) <= 80 and "..." not in line for line in lines)


def test_a_comparison_says_what_bounds_the_fastest(capsys):
    words = ["compare", "--model", "opt-125m", "--output-tokens", "4", "--processes", "1"]
    assert main([*words, "--candidate", "gpu_only", "--candidate", "flexgen"]) == 0
    lines = capsys.readouterr().out.splitlines()[:5]
    assert [line[:12].strip() for line in lines] == list(LABELS)
    assert "times that of flexgen" in lines[2]
    assert all(len(line) <= 80 and "..." not in line for line in lines)


def test_columns_without_a_value_are_left_out():
    made = without_empty(table(("a", "b", "c"), [("x", None, 1), ("y", None, None)]))
    assert made.columns == ("a", "c") and made.rows == (("x", "1"), ("y", "-"))
