"""Names and files become programs, and a mistake in a file is told with its line."""

import inspect
from pathlib import Path
from textwrap import dedent

import pytest

from controller.errors import BadWorkload, StrategyFailed, UnknownStrategy
from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.strategies.entry import TRAINING
from controller.strategies.of_your_own import blaming, outside_buffers
from controller.strategies.table import STRATEGIES, lookup
from controller.topology.loader import load_topology

HEAD = """
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer

X, Y = (Buffer("gpu", "hbm", name, "fp16", (8, 8)) for name in "xy")


def _plan(seconds=0.001):
    build = PlanBuilder("mine")
    build.kernel("copy", "gpu", [X], [Y])
    build.kernel("delay", "gpu", [], [], seconds=seconds)
    return build.plan()


"""


@pytest.fixture
def write(tmp_path: Path):
    """Writes a file of one's own and gives what ``run`` calls it."""

    def put(body: str, function: str = "mine", name: str = "own.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + dedent(body))
        return f"{path}:{function}"

    return put


def run(name: str):
    strategy = lookup(name)
    topology = load_topology(strategy.topology)
    scenario = Scenario(topology, load_model("tiny-opt"), 1, 4, 4, "fp32")
    if strategy.task == TRAINING:
        scenario = TrainingScenario(topology, load_model("tiny-opt"), 1, 8, 2, "fp16")
    program = strategy.program()
    with blaming(strategy):
        return run_virtual(topology, [lambda view: program(view, scenario)])


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_entry_leads_to_a_program_of_run_and_scenario(name: str) -> None:
    strategy = lookup(name)
    assert list(inspect.signature(strategy.program()).parameters) == ["run", "scenario"]
    assert load_topology(strategy.topology).devices
    assert run(name).ok


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownStrategy, match="did you mean 'instinfer'"):
        lookup("instinfre")
    with pytest.raises(UnknownStrategy, match=r"there are instinfer.*path/to/file\.py:function"):
        lookup("zzz")


def test_unknown_options_come_with_the_nearest() -> None:
    lookup("instinfer").read_options({"mini_batches": "3"})
    with pytest.raises(BadWorkload, match="did you mean 'mini_batches'"):
        lookup("instinfer").read_options({"minibatches": "3"})
    with pytest.raises(BadWorkload, match="none"):
        lookup("dram_kv").read_options({"zzz": "3"})


def test_a_function_of_the_scenario_gives_a_plan(write) -> None:
    name = write(
        """
        def mine(scenario):
            '''A copy and a pause.'''
            return _plan(scenario.batch * 0.002)
        """
    )
    outcome = run(name)
    assert outcome.time_s == pytest.approx(2e-3, rel=0.02)
    assert list(outcome.phases) == ["plan"]
    assert (lookup(name).summary, lookup(name).topology) == ("A copy and a pause.", "a6000_csd")
    lookup(name).read_options({"whatever": "it wants"})


def test_a_program_places_and_submits_itself(write) -> None:
    name = write(
        """
        def mine(run, scenario):
            run.place(X, written=True)
            run.place(Y)
            for _ in range(3):
                yield run.submit(_plan())

        mine.topology = "two_hosts"
        """.replace('mine.topology = "two_hosts"', 'mine.topology = "a6000_ssd"')
    )
    assert lookup(name).topology == "a6000_ssd"
    assert run(name).time_s == pytest.approx(3e-3, rel=0.02)


def test_a_program_may_be_handed_on(write) -> None:
    """As our own strategies do: a function that is no generator but returns one."""
    name = write(
        """
        def mine(run, scenario):
            return inner(run)

        def inner(run):
            yield run.delay(0.5)
        """
    )
    assert run(name).time_s == 0.5


def test_further_arguments_may_have_defaults(write) -> None:
    name = write(
        """
        def mine(scenario, seconds=0.25):
            return _plan(seconds)
        """
    )
    assert run(name).time_s == pytest.approx(0.25, rel=1e-3)


def test_two_files_of_one_name(write) -> None:
    body = "def mine(run, scenario):\n    yield run.delay({})\n"
    names = [write(body.format(seconds), name=f"{seconds}/own.py") for seconds in (1.0, 2.0)]
    strategies = [lookup(name) for name in names]
    assert [run(name).time_s for name in names] == [1.0, 2.0]
    assert strategies[0].program() is not strategies[1].program()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def other(scenario): ...", "has no function 'mine'"),
        ("def mime(scenario): ...", "did you mean 'mime'"),
        ("mine = 3", "has no function 'mine'"),
        ("def mine(: ...", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("x = undefined\n\ndef mine(scenario): ...", "own.py:15: NameError"),
        ("def mine(): ...", "takes 0 arguments"),
        ("def mine(a, b, c): ...", "takes 3 arguments"),
    ],
)
def test_files_that_cannot_be_used(write, body: str, said: str) -> None:
    with pytest.raises(UnknownStrategy) as caught:
        lookup(write(body))
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownStrategy, match="no such file"):
        lookup(f"{tmp_path}/absent.py:mine")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def mine(scenario): return 3", "returned int; return a Plan"),
        ("def mine(run, scenario): return 3", "returned int"),
    ],
)
def test_functions_that_give_something_else(write, body: str, said: str) -> None:
    with pytest.raises(UnknownStrategy, match=said):
        run(write(body))


def test_an_exception_names_the_line_of_the_file(write) -> None:
    name = write("def mine(run, scenario):\n    ids = yield run.fetch(X)\n    print(ids[0])\n")
    with pytest.raises(StrategyFailed, match=r"own\.py:\d+: TypeError.*None on the virtual clock"):
        run(name)


def test_what_a_plan_needs_from_outside() -> None:
    a, b, own = (Buffer("gpu", "hbm", name, "fp16", (8, 8)) for name in ("a", "b", "own"))
    build = PlanBuilder("plan")
    build.alloc(own)
    build.kernel("copy", "gpu", [b], [own])
    build.kernel("copy", "gpu", [own], [a])
    build.free(own)
    assert outside_buffers(build.plan()) == (b, a)
