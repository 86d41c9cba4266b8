"""What takes time: messages, the order of slices, the rows of a stream. And what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.exchange import PLAIN
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.compare.prices import prices
from controller.errors import BadTopology, BadWorkload
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.models.sharding import Sharding
from controller.offload.network_bandwidth import least_bandwidth_bytes_per_s, network_bytes
from controller.offload.pieces import pieces_of
from controller.strategies.lamina import pools_of
from controller.topology.loader import load_topology


def run(
    *overrides: str, strategy: str = "lamina", model: str = "tiny-opt", topology: str | None = None, batch=1, **options
):
    request = RunSpec(
        strategy, model, topology, overrides, batch=batch, prompt_tokens=64, output_tokens=3, options=options
    )
    return run_experiment(request)


@pytest.mark.parametrize(("stack", "trip", "rate"), [("fhbn", 33.0e-6, 45.7e9), ("nccl", 66.6e-6, 35.5e9)])
def test_a_message_costs_what_the_stack_declares(stack: str, trip: float, rate: float) -> None:
    reports = run(dop="1,1", probe="network", stack=stack).outcome.reports()
    assert reports["round_trip_s"] == pytest.approx(trip, rel=1e-5)
    assert reports["bytes_per_s"] == pytest.approx(rate, rel=2e-3)


def test_a_slower_stack_makes_a_step_longer() -> None:
    times = [run(dop="1,1", stagger="1", stack=stack).outcome.phases["decode"] for stack in ("fhbn", "nccl")]
    # Two layers and two steps, each with q, then k and v, and the result one after the other: 16.8 us more a message.
    assert times[1] - times[0] == pytest.approx(2 * 2 * 3 * 16.8e-6, rel=0.01)


def test_two_batches_keep_the_model_busier_than_one() -> None:
    """A slice of one batch runs while the other's attention is away: slices are not queued behind a result."""
    options = {"dop": "2,4", "prefill": "elsewhere"}
    request = RunSpec("lamina", "llama3-70b", batch=64, prompt_tokens=8000, output_tokens=2)
    one, two = (run_experiment(replace(request, options={**options, "stagger": n})).outcome for n in ("1", "2"))
    busy = {use.name: use.busy_s for use in two.resources}["model0.stream"]
    assert two.time_s < 1.12 * busy
    assert {use.name: use.busy_ratio for use in one.resources}["model0.stream"] < 0.75


def test_a_stream_is_counted_as_often_as_it_runs() -> None:
    """Resources and tokens add up although every composition is executed once."""
    experiment = run(dop="1,1", requests="azure_code", model="llama3-8b")
    outcome = experiment.outcome
    reports = outcome.reports()
    assert outcome.ok and reports["requests"] == 2000
    assert reports["plans_executed"] < reports["iterations"]
    assert experiment.tokens_per_s == pytest.approx(reports["generated_tokens"] / outcome.time_s)
    mean = reports["mean_batch"] * reports["iterations"] / reports["generated_tokens"]
    assert mean == pytest.approx(1.0)
    count = {entry.label: entry.count for entry in outcome.op_times}["lm_head"]
    assert count == 2 * reports["iterations"]  # once for each of two batches
    assert reports["time_between_tokens_mean_s"] <= reports["time_between_tokens_p99_s"]
    price = 11.06 + 4.63
    assert reports["usd_per_hour"] == pytest.approx(price)
    assert reports["tokens_per_usd"] == pytest.approx(experiment.tokens_per_s * 3600 / price)


GRAINS = ("32", "128")


def test_exact_and_rounded_compositions_agree() -> None:
    rates = [run(dop="1,1", requests="azure_code", model="llama3-8b", grain=grain).tokens_per_s for grain in GRAINS]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def test_the_baseline_holds_what_its_server_leaves() -> None:
    reports = run(strategy="vllm_tp", model="llama3-8b", gpus="2", requests="azure_code").outcome.reports()
    shape = load_model("llama3-8b")
    h100 = load_topology("lamina").devices["model0"].spec.tiers["hbm"].capacity_bytes
    left = 0.9 * 2 * h100 - shape.weight_bytes() - 2 * (3.58 + 1.26) * 2**30
    assert reports["kv_capacity_tokens"] == pytest.approx(left / shape.kv_bytes_per_token(), rel=0.001)


def test_the_prices_of_the_topology_are_those_of_the_table() -> None:
    declared = load_topology("lamina").rent_usd_per_hour
    assert declared == {name: prices()[name].hour_usd for name in declared}
    assert set(declared) == {"h100_sxm", "h20", "tpu_v6e"}


def test_another_product_holds_the_cache() -> None:
    reports = run("memory.product=tpu_v6e", dop="1,2", requests="azure_code", model="llama3-8b").outcome.reports()
    assert reports["usd_per_hour"] == pytest.approx(11.06 + 2 * 2.70)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"dop": "2"}, BadWorkload, "write model devices and memory devices"),
        ({"dop": "9,1"}, BadTopology, "has 8 model devices; give it more with --set model.count=9"),
        ({"dop": "2,4", "stagger": "4"}, BadWorkload, "cannot be split into 3"),
        ({"dop": "1,5", "stagger": "1"}, BadWorkload, "5 memory devices for 4 KV heads of tiny-opt"),
        ({"dop": "1,1", "overlap": "maybe"}, BadWorkload, "write on or off"),
        ({"dop": "1,1", "stagger": "2"}, BadWorkload, "2 batches follow each other and there are 1 sequences"),
        ({"dop": "1,1", "requests": "azure_konv"}, BadWorkload, "neither a file nor a published trace"),
        ({"dop": "1,1", "requests": "azure_conv"}, BadWorkload, "positions for 512"),
        ({"dop": "1,1", "probe": "disk"}, BadWorkload, "write network"),
        ({"dop": "1,1", "requests": "azure_conv", "utilisation": "2"}, BadWorkload, "option utilisation is '2'"),
        ({"dop": "1,1", "requests": "azure_conv", "grain": "-1", "model": "llama3-8b"}, BadWorkload, "grain is '-1'"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, str], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        run(**options)


def test_a_batch_beside_a_trace_and_a_topology_without_pools() -> None:
    with pytest.raises(BadWorkload, match="--batch 4 beside --requests"):
        run(batch=4, dop="1,1", requests="azure_conv", model="llama3-8b")
    with pytest.raises(BadTopology, match="no group 'model'"):
        run(dop="1,1", topology="dgx_h100")


def test_pieces_cover_every_head_once() -> None:
    shape = load_model("llama3-70b")
    for world, memories in ((1, 3), (2, 4), (4, 2), (3, 5)):
        pieces = pieces_of(shape, world, tuple(f"m{number}" for number in range(memories)))
        covered = [head for piece in pieces for head in range(*piece.kv)]
        assert sorted(covered) == list(range(shape.kv_heads))


def test_shards_are_the_model_with_norms_on_every_rank() -> None:
    shape = load_model("llama3-70b")
    total = sum(Sharding(shape, ("a", "b"), "bf16").weight_bytes(rank) for rank in range(2))
    norms = 2 * (2 * shape.layers + 1) * shape.hidden
    assert total == shape.weight_bytes("bf16") + norms


def test_the_protocol_is_the_faster_one_for_the_size() -> None:
    libraries = software_of(load_topology("lamina"), ("model0", "model1", "model2", "model3"), HOPS)
    assert [each.name for each in libraries] == ["ll", "ll128", "simple"]
    assert fastest(libraries, all_reduced_bytes(1e5, 4)).name == "ll"
    assert fastest(libraries, all_reduced_bytes(1e8, 4)).name == "simple"
    assert software_of(load_topology("lamina"), ("model0",), HOPS) == (PLAIN,)


def test_the_least_bandwidth_by_hand() -> None:
    """884.7 MB an iteration; 141.1 GB of weights at 3.35 TB/s and 402.7 GB of cache at 4 TB/s."""
    devices, shape = load_topology("lamina").devices, load_model("llama3-70b")
    assert network_bytes(shape, 300) == (2 * 8192 + 2 * 1024) * 2 * 300 * 80
    found = least_bandwidth_bytes_per_s(shape, devices["model0"].spec, devices["memory0"].spec, 300, 4096)
    assert found == pytest.approx(884.7e6 / (0.2 * (141.1e9 / 3.35e12 + 402.7e9 / 4e12)), rel=0.01)


def test_what_is_repeated_counts_as_often() -> None:
    topology = load_topology("lamina", ("model.count=1", "memory.count=1"))
    scenario = Scenario(topology, load_model("tiny-opt"), 1, 8, 2, "fp32", options={"dop": "1,1", "stagger": "1"})

    def program(run):
        from controller.plan.build import PlanBuilder

        build = PlanBuilder("wait")
        build.kernel("delay", "model0", [], [], seconds=1.0)
        yield run.submit(build.plan())
        second = yield run.submit(build.plan())
        yield run.repeat(second, 3)
        run.figure("at", run.now)

    outcome = run_virtual(topology, [program])
    assert outcome.figures["at"] == pytest.approx(5.0)
    assert {entry.label: entry.count for entry in outcome.op_times} == {"delay": 5}
    assert {use.name: use.busy_ratio for use in outcome.resources}["model0.stream"] == pytest.approx(1.0)
    assert pools_of(scenario).batches == 1


def test_a_stream_whose_weights_do_not_fit_says_what_is_missing() -> None:
    options = {"dop": "1,4", "requests": "azure_conv"}
    outcome = run_experiment(RunSpec("lamina", "llama3-70b", options=options)).outcome
    assert outcome.ended.startswith("OOM at model0.hbm") and not outcome.ok
    (short,) = outcome.shortages
    weight_bytes = 2 * load_model("llama3-70b").parameter_count
    assert weight_bytes < short.need_bytes < 1.02 * weight_bytes


def test_a_live_stream_is_refused_before_a_node_starts() -> None:
    with pytest.raises(BadWorkload, match="on the virtual clock only: remove --live"):
        run_experiment(RunSpec("lamina", "tiny-opt", live=True, options={"dop": "1,1", "requests": "azure_conv"}))


@pytest.mark.parametrize("strategy", ["lamina", "vllm_tp"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_batch": "3"}, "--max-batch 3 belongs to a stream"),
        ({"utilisation": "0.5"}, "name a stream with --requests"),
        ({"requests": "azure_conv", "prefill": "here"}, "remove --prefill"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(strategy: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(BadWorkload, match=words):
        run(strategy=strategy, **options)
