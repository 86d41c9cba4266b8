"""Two kept runs: what differs is said, what is equal is not, and what is no run is refused."""

import json
from dataclasses import replace

import pytest

from controller.cli.main import main
from controller.compare.run_difference import BadKeptRun, differences, load_run
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

ASKED = RunSpec("flexgen", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    for name, request in (("one", ASKED), ("two", replace(ASKED, batch=4)), ("again", ASKED)):
        (folder / f"{name}.json").write_text(json.dumps(run_experiment(request).to_json()))
    return folder


def test_the_same_run_twice_differs_in_nothing(kept):
    assert differences(load_run(kept / "one.json"), load_run(kept / "again.json")) == ()


def test_a_larger_batch_shows_in_what_was_asked_and_in_what_came_out(kept):
    found = differences(load_run(kept / "one.json"), load_run(kept / "two.json"))
    by_name = {(each.group, each.name): each for each in found}
    assert (by_name["asked", "workload.batch"].first, by_name["asked", "workload.batch"].second) == (2, 4)
    assert by_name["asked", "workload.batch"].change == 1.0
    assert by_name["result", "time_s"].change > 0
    assert {"op", "resource", "bound by"} <= {each.group for each in found}


def test_the_command_begins_with_five_lines_and_ends_with_tables(kept, capsys):
    assert main(["compare", str(kept / "one.json"), str(kept / "two.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ran         one.json (flexgen) and two.json (flexgen)")
    assert "on that hardware (device time)" in lines[1]
    assert any("workload.batch" in line and "+100.0 %" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert main(["compare", str(kept / "one.json"), str(kept / "again.json")]) == 0
    assert "nothing differs" in capsys.readouterr().out


def test_json_has_every_difference(kept, capsys):
    assert main(["compare", str(kept / "one.json"), str(kept / "two.json"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"group", "name", "first", "second", "change"} == set(rows[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no kept run"),
        ('{"strategy": "x"}', "it lacks topology"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_kept_run_is_refused(tmp_path, text, message):
    path = tmp_path / "wrong.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadKeptRun, match=message):
        load_run(path)


def test_one_run_is_too_few(kept, capsys):
    assert main(["compare", str(kept / "one.json")]) == 2
    assert "name two files" in capsys.readouterr().err
