"""``windtunnel plan`` on a strategy of one's own, from outside of the package."""

import json

import pytest

from controller.cli.plan import plan
from controller.errors import OutOfMemory, UnknownStrategy

MINE = '''
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer


def spill(scenario):
    """Writes an activation to the drive."""
    build = PlanBuilder("spill")
    x, y = (Buffer("gpu", "hbm", name, "fp32", (scenario.batch, 8)) for name in "xy")
    build.kernel("activation", "gpu", [x], [y], kind="relu", label="relu")
    build.transfer(y, Buffer("csd0", "flash", "y", "fp32", (scenario.batch, 8)))
    return build.plan()
'''


@pytest.fixture
def mine(tmp_path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return f"{tmp_path}/mine.py:spill"


def call(*arguments: str) -> None:
    plan.main(list(arguments), prog_name="plan", standalone_mode=False)


def test_show_prints_ops_and_the_peak_of_every_tier(mine, capsys):
    call("show", mine, "--batch", "4")
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["spill", "activation", "relu", "gpu", "1"] in shown
    assert ["gpu.hbm", "256", "B", "51.54", "GB", "0.0%"] in shown


def test_show_as_json_holds_every_op_with_its_edges(mine, capsys):
    call("show", mine, "--batch", "4", "--json")
    document = json.loads(capsys.readouterr().out)
    (found,) = document["plans"]
    assert [(op["op"], op["after"]) for op in found["ops"]] == [("activation", []), ("transfer", [0])]
    assert document["fits"] is True
    assert {each["tier"]: each["peak_bytes"] for each in document["tiers"]} == {"gpu.hbm": 256, "csd0.flash": 128}


def test_check_says_that_everything_fits(mine, capsys):
    call("check", mine)
    assert "1 plans, 2 ops; every tier fits" in capsys.readouterr().out


def test_what_does_not_fit_is_shown_and_fails_the_check(mine, capsys):
    small = ("--batch", "4", "--set", "gpu.hbm.capacity=200 B")
    call("show", mine, *small)
    assert "does not fit: OOM at gpu.hbm: 56 bytes missing" in capsys.readouterr().out
    with pytest.raises(OutOfMemory, match="56 bytes missing"):
        call("check", mine, *small)


def test_an_unknown_strategy_is_the_users_error(mine):
    with pytest.raises(UnknownStrategy, match="did you mean 'spill'"):
        call("check", mine.replace(":spill", ":spil"))
