"""A system of the literature is one file of at most 200 lines that imports no other system."""

import tomllib
from pathlib import Path

from controller.strategies.table import STRATEGIES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "controller" / "strategies"


def test_every_file_is_short_and_none_has_a_folder() -> None:
    assert {
        path.name: count for path in FOLDER.glob("*.py") if (count := len(path.read_text().splitlines())) > 200
    } == {}
    assert [path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"] == []


def test_the_contract_that_no_system_imports_another_names_them_all() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (named,) = (contract["modules"] for contract in contracts if contract["name"] == "no system imports another")
    assert set(named) == {entry.target.partition(":")[0] for entry in STRATEGIES.values()}
