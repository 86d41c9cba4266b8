"""The checks find what is wrong, and a user's own strategy can be put to them."""

from pathlib import Path
from textwrap import dedent

import pytest

from controller.conformance.conservation import lost_bytes
from controller.conformance.suite import StrategySuite, changed_timeline
from controller.conformance.tiers import unreported_full_tiers
from controller.conformance.toys import SHORT, Size, shapes, toy
from controller.conformance.values import wrong_values
from controller.strategies.table import STRATEGIES

pytest_plugins = ["pytester"]

HEAD = """
from dataclasses import replace
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.results import GenerationResult
from controller.strategies.gpu_only import gpu_only

"""


@pytest.fixture
def own(tmp_path: Path):
    """Writes a strategy ``mine`` and gives its toy with tiny-opt."""

    def write(body: str, **more):
        path = tmp_path / "own.py"
        path.write_text(HEAD + dedent(body))
        name = f"{path}:mine"
        return toy(name, shapes(name)["tiny-opt"], SHORT, **more)

    return write


def test_wrong_tokens_are_found(own) -> None:
    found = wrong_values(
        own(
            """
            def mine(run, scenario):
                done = yield from gpu_only(run, scenario)
                if not run.live:
                    return done
                return replace(done, tokens=[[(token + 1) % 384 for token in step] for step in done.tokens])
            """
        )
    )
    assert any(said.startswith("0 of 3 tokens are those of the plain run") for said in found)


def test_a_strategy_that_returns_nothing_is_found(own) -> None:
    found = wrong_values(own("def mine(run, scenario):\n    yield run.delay(1.0)\n"))
    assert found == ["the program returned no tokens: return a GenerationResult with tokens and logits where run.live"]


def test_a_strategy_without_values_must_say_so() -> None:
    entry = STRATEGIES["gpu_only"]
    silent = toy("gpu_only", shapes("gpu_only")["tiny-opt"], SHORT)
    lying = type(silent)(
        type(entry)(**{name: getattr(entry, name) for name in entry.__slots__} | {"has_values": False}),
        silent.shape, silent.topology, silent.request,
    )  # fmt: skip
    assert "has_values=False" in wrong_values(lying)[0]


def test_what_is_never_placed_reports_no_tier(own) -> None:
    found = unreported_full_tiers(own("def mine(run, scenario):\n    yield run.delay(1.0)\n"))
    assert found == ["no tier was too small for it, not one of a single byte: does it place anything?"]


def test_an_allocation_that_stays_is_found(own) -> None:
    found = lost_bytes(
        own(
            """
            def mine(run, scenario):
                build = PlanBuilder("leak")
                build.alloc(Buffer("gpu", "hbm", "left", "fp32", (4,)))
                yield run.submit(build.plan())
            """
        )
    )
    assert found == ["gpu.hbm holds 16 bytes at the end, of which the program placed 0"]


def test_a_changed_timeline_names_the_line_and_may_be_written(own, tmp_path: Path) -> None:
    made = own("def mine(run, scenario):\n    yield run.delay(1.0)\n")
    path = tmp_path / "mine.txt"
    assert "was not there and has been written" in changed_timeline(made, path)
    assert changed_timeline(made, path) == ""
    path.write_text(path.read_text().replace("1000000.000", "2000000.000"))
    assert f"{path}:4: 'ended ok at 2000000.000 us' before" in changed_timeline(made, path)
    assert changed_timeline(made, path, update=True) == ""
    assert changed_timeline(made, path) == ""
    path.write_text(path.read_text() + "\n")
    assert "'' before, 'end of file' now" in changed_timeline(made, path)


class TestOwn(StrategySuite):
    """As a user writes it."""

    strategy = "gpu_only"
    models = ("tiny-opt",)
    size = Size(output_tokens=6)


def test_a_strategy_is_run_by_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        own=HEAD
        + """
def mine(run, scenario):
    return (yield from gpu_only(run, scenario))
"""
    )
    pytester.makepyfile(
        """
        def test_mine(windtunnel_local):
            found = windtunnel_local("own.py:mine", topology="a6000_ssd", batch=2, prompt_tokens=5, output_tokens=9)
            assert found.outcome.ok and found.outcome.time_s > 0
            assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 18

        def test_training(windtunnel_local):
            assert windtunnel_local("train_gpu_only", batch=1, seq=8, steps=1).comparison["values_equal"]
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
