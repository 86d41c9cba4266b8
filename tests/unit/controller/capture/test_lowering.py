import pytest

from controller.capture.lowering.kernels import CallCosts
from controller.capture.lowering.table import rule_of
from controller.capture.trace import CallSignature, TensorOperand
from controller.topology.loader import load_topology


def tensor(*shape, dtype="bf16", elements=None):
    size = 1
    for extent in shape:
        size *= extent
    return TensorOperand(shape, dtype, size if elements is None else elements, True)


@pytest.fixture(scope="module")
def costs():
    return CallCosts(load_topology("dgx_h100").devices["gpu0"].spec)


def test_a_product_has_its_flop_and_its_bytes(costs):
    call = CallSignature("aten.mm.default", (tensor(64, 32), tensor(32, 16)), (tensor(64, 16),), ())
    (demand,) = rule_of(call.name)(call)
    assert (demand.flop, demand.reads, demand.writes) == (2 * 64 * 32 * 16, (4096, 1024), (2048,))
    assert costs.of(call).is_known


def test_an_expanded_operand_counts_what_lies_in_memory():
    call = CallSignature("aten.mul.Tensor", (tensor(8, 1024), tensor(8, 1024, elements=1024)), (tensor(8, 1024),), ())
    (demand,) = rule_of(call.name)(call)
    assert demand.reads == (2 * (8192 + 1024),)


def test_a_causal_mask_halves_attention():
    q = tensor(1, 8, 1024, 128)
    name = "aten._scaled_dot_product_flash_attention.default"
    whole, causal = (
        rule_of(name)(CallSignature(name, (q, q, q), (q,), ((3, 0.0), (4, is_causal))))[0].flop
        for is_causal in (False, True)
    )
    assert causal == pytest.approx(whole / 2, rel=0.01)


def test_a_softmax_over_a_long_row_reads_it_three_times():
    name = "aten._log_softmax.default"
    short, long = tensor(64, 1000, dtype="fp32"), tensor(64, 128_000, dtype="fp32")
    (once,) = rule_of(name)(CallSignature(name, (short,), (short,), ()))
    (thrice,) = rule_of(name)(CallSignature(name, (long,), (long,), ()))
    assert once.reads == (64 * 1000 * 4,)
    assert thrice.reads == (3 * 64 * 128_000 * 4,)


def test_what_the_table_lacks_is_timed_by_bytes_and_says_so(costs):
    call = CallSignature("mine.strange.default", (tensor(1 << 20),), (tensor(1 << 20),), ())
    cost = costs.of(call)
    assert not cost.is_known
    assert cost.time_s > 4 * 2**20 / costs.spec.tiers["hbm"].read_bytes_per_s


def test_an_optimizer_over_a_list_writes_its_first_list():
    lists = tuple(tensor(1000, dtype="fp32") for _ in range(9))
    name = "aten._foreach_addcdiv_.ScalarList"
    (demand,) = rule_of(name)(CallSignature(name, lists, (), ()))
    assert (demand.reads, demand.writes) == ((36_000,), (12_000,))
