"""A rewrite keeps what strategies do; the whole matrix is ``scripts/digests``, a few minutes by hand."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from digests import Case, cases, compare_rows, differences, load, load_renames, record
from plan_digest import PlanDigest

from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan

QUICK = [case for case in cases() if case.quick]


@pytest.mark.parametrize("case", QUICK, ids=[case.name for case in QUICK])
def test_a_strategy_does_what_it_did(case: Case) -> None:
    assert differences(load()[case.name], record(case, load_renames())) == []


def test_the_golden_file_has_all_quick_cases_and_no_unknown_one() -> None:
    assert {case.name for case in QUICK} <= set(load()) <= {case.name for case in cases()}


def test_another_batch_is_seen() -> None:
    case = next(case for case in QUICK if case.request.strategy == "gpu_only")
    other = Case(replace(case.request, batch=case.request.batch + 1), quick=True)
    lines = differences(load()[case.name], record(other, {}))
    assert any(line.startswith("ops:") for line in lines)
    assert any(line.startswith("time_s:") for line in lines)


def _chain(names: str, wrong: bool = False) -> PlanDigest:
    """x -> a, a -> b, and c from b, or from a when `wrong`; `names` are those of the four buffers."""
    x, a, b, c = (Buffer("gpu", "hbm", name, "fp32", (4,)) for name in names)
    build = PlanBuilder("chain")
    for source, made in ((x, a), (a, b), (a if wrong else b, c)):
        build.kernel("copy", "gpu", [source], [made])
    return _digest(build.plan())


def _digest(plan: Plan) -> PlanDigest:
    found = PlanDigest({})
    found.add(plan, {})
    return found


def test_names_of_destinations_do_not_count() -> None:
    assert _chain("xabc").edges == _chain("qrst").edges
    assert _chain("xabc").edges == _chain("xaba").edges, "reuse of a buffer whose value is dead"


def test_a_read_of_another_value_is_seen() -> None:
    assert _chain("xabc").ops == _chain("xabc", wrong=True).ops
    assert _chain("xabc").edges != _chain("xabc", wrong=True).edges


def test_rows_of_one_paper_are_taken_and_compared_without_the_others(tmp_path, capsys) -> None:
    def printed(paper: str, ours: float) -> Path:
        row = {"paper": paper, "table": "t", "row": "r", "quantity": "q", "ours": ours}
        (file := tmp_path / f"{paper}.json").write_text(json.dumps([row]))
        return file

    (golden := tmp_path / "golden.json").write_text("{}")
    assert compare_rows([printed("a", 1.5), printed("b", 2.5)], update=True, golden=golden) == 0
    assert compare_rows([printed("a", 1.5)], update=False, golden=golden) == 0
    assert compare_rows([printed("a", 1.0)], update=False, golden=golden) == 1
    assert "a | t | r | q: 0x1.8000000000000p+0 (1.5 s) before" in capsys.readouterr().out
    assert compare_rows([printed("a", 1.0)], update=True, golden=golden) == 0
    assert json.loads(golden.read_text()) == {"a | t | r | q": (1.0).hex(), "b | t | r | q": (2.5).hex()}
