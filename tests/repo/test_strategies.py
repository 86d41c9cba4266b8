"""A system of the literature is one file of at most 200 lines that imports no other system."""

import tomllib
from pathlib import Path

from controller.strategies.table import STRATEGIES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "controller" / "strategies"


def test_every_file_is_short_and_none_has_a_folder() -> None:
    lengths = {path.relative_to(FOLDER).as_posix(): len(path.read_text().splitlines()) for path in FOLDER.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 200 or "/" in name} == {}


def test_the_contract_that_no_system_imports_another_names_them_all() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (named,) = (contract["modules"] for contract in contracts if contract["name"] == "no system imports another")
    assert set(named) == {entry.target.partition(":")[0] for entry in STRATEGIES.values()}
