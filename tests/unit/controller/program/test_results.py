"""What programs return: one value for each, flattened without values, and refused when it is no result."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadResult
from controller.execute.virtual import run_virtual
from controller.program.results import (
    CallResult,
    CollectiveResult,
    GenerationResult,
    Latencies,
    ServingResult,
    TrainingResult,
)
from controller.topology.loader import load_topology

ONE_GPU = load_topology("a6000_ssd")


def returning(value, duration_s: float = 0.0):
    def program(run):
        yield run.delay(duration_s)
        return value

    return program


def test_results_stand_in_the_order_of_the_programs() -> None:
    late, early = TrainingResult(8, 2), GenerationResult(3)
    outcome = run_virtual(ONE_GPU, [returning(late, 2.0), returning(None, 3.0), returning(early, 1.0)])
    assert outcome.results == (late, None, early)
    assert outcome.result is late
    assert run_virtual(ONE_GPU, [returning(None)]).result is None


def test_values_are_not_flattened() -> None:
    generated = GenerationResult(2, [[1, 2]], [np.zeros((2, 5))])
    trained = TrainingResult(8, 2, "steps", [1.0], {"w": np.zeros(3)})
    assert generated.flat() == {"generated_tokens": 2}
    assert trained.flat() == {"gpus": 2, "trained_tokens": 8, "rate_phase": "steps"}
    assert "rate_phase" not in TrainingResult(8).flat()
    assert CollectiveResult((CallResult(1.0), CallResult(2.0))).flat() == {"calls": 2}
    assert CollectiveResult((CallResult(1.0, 0), CallResult(2.0, 3))).flat() == {"calls": 2, "wrong": 3}


def test_serving_tells_what_was_measured_and_nothing_else() -> None:
    full = ServingResult(9, 40, 2.0, itl_s=Latencies([0.1, 0.3], [3, 1]))
    assert full.flat() == {
        "requests": 9,
        "generated_tokens": 40,
        "serving_s": 2.0,
        "mean_itl_s": pytest.approx(0.15),
        "median_itl_s": 0.1,
        "p99_itl_s": pytest.approx(0.294),
    }
    single = ServingResult(2, 6, 1.0, 2, 8, *(Latencies([value]) for value in (0.1, 0.2, 0.3, 0.4)))
    assert single.flat()["completed"] == 2 and single.flat()["prompt_tokens"] == 8
    assert [single.flat()[f"p99_{name}_s"] for name in ("ttft", "tpot", "itl", "e2e")] == [0.1, 0.2, 0.3, 0.4]
    outcome = run_virtual(ONE_GPU, [returning(full)])
    assert outcome.result is full and outcome.reports()["requests"] == 9


@given(st.lists(st.tuples(st.floats(0, 1e3), st.integers(0, 4)), min_size=1, max_size=30), st.floats(0, 1))
def test_counted_latencies_equal_those_written_out(sample, ratio) -> None:
    values, counts = (np.array(column) for column in zip(*sample, strict=True))
    counted, written = Latencies(values, counts), Latencies(np.repeat(values, counts))
    assert counted.count == written.count == counts.sum()
    if not counted.count:
        assert counted.flat("itl") == {}
        with pytest.raises(ValueError, match="no duration"):
            counted.quantile_s(ratio)
        return
    assert counted.mean_s == pytest.approx(np.mean(written.values_s))
    assert counted.quantile_s(ratio) == pytest.approx(np.quantile(written.values_s, ratio))


@pytest.mark.parametrize("value", [5, {"generated_tokens": 3}, [GenerationResult(3)]])
def test_what_is_no_result_is_refused(value) -> None:
    with pytest.raises(BadResult, match=f"returned {type(value).__name__}; return a GenerationResult.*run.figure"):
        run_virtual(ONE_GPU, [returning(value)])


def test_figures_and_notes_of_a_run_that_fails_are_kept() -> None:
    from controller.plan.ops import Buffer

    def program(run):
        run.figure("planned_bytes", 7)
        run.note("too large")
        run.note("far")
        run.place(Buffer("gpu", "hbm", "all", "int8", (1 << 60,)))
        yield run.delay(1.0)
        return GenerationResult(1)

    outcome = run_virtual(ONE_GPU, [program])
    assert not outcome.ok and outcome.result is None
    assert outcome.figures == {"planned_bytes": 7} and outcome.notes == ["too large", "far"]
    reports = outcome.reports()
    assert (
        list(reports) == ["planned_bytes", "note", "out_of_memory", "overflow"] and reports["note"] == "too large; far"
    )
    assert set(outcome.short_reports()) == {"planned_bytes", "note"}
