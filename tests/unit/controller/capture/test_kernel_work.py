"""What a program declares about its own kernels decides their time."""

import pytest
import windtunnel

from controller.capture.inside.triton_kernels import declared_values
from controller.capture.kernel_work import declared_work
from controller.capture.lowering.kernels import CallCosts
from controller.capture.trace import CallSignature, TensorOperand
from controller.topology.loader import load_topology

X = TensorOperand((1 << 24,), "bf16", 1 << 24, True)
PEAK = 989e12


def cost_of(*values):
    spec = load_topology("dgx_h100").devices["gpu0"].spec
    return CallCosts(spec), CallCosts(spec).of(CallSignature("mine.swish.default", (X,), (X,), values))


def test_bytes_and_arithmetic_as_declared():
    costs, plain = cost_of()
    assert not plain.is_known
    _, moved = cost_of(*declared_values(windtunnel.KernelWork(reads=10**9, writes=10**9)))
    assert moved.is_known
    assert moved.kernels[0].time_s == pytest.approx(2e9 / costs.reached_bytes_per_s)
    _, worked = cost_of(*declared_values(windtunnel.KernelWork(1e12, 1, 1, "bf16", "tensor", 0.5)))
    assert worked.kernels[0].time_s == pytest.approx(1e12 / (0.5 * PEAK), rel=0.01)
    assert (worked.flop, worked.kernels[0].compute_ratio) == (1e12, 1.0)


def test_a_declaration_is_found_with_and_without_overload():
    @windtunnel.kernel_cost("mine::found")
    def found(x, scale=1):
        return windtunnel.KernelWork(flop=x * scale)

    assert declared_work("mine.found.default", (3,), {"scale": 2}) == windtunnel.KernelWork(flop=6)
    assert declared_work("mine.other.default", (3,), {}) is None


@pytest.mark.parametrize("wrong", [{"flop": -1.0}, {"peak_ratio": 0.0}, {"unit": "cuda"}])
def test_work_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="flop, reads and writes are not below 0"):
        windtunnel.KernelWork(**wrong)


def test_flex_attention_takes_what_causal_flash_attention_takes():
    costs, _ = cost_of()
    heads = TensorOperand((1, 32, 8192, 128), "bf16", 32 * 8192 * 128, True)
    sums = TensorOperand((1, 32, 8192), "fp32", 32 * 8192, True)
    causal = ((4, True),)

    def time_of(name, *inputs, outputs, values=()):
        return costs.of(CallSignature(name, inputs, outputs, values)).time_s

    three = (heads, heads, heads)
    flash = "aten._scaled_dot_product_flash_attention"
    forward = time_of(f"{flash}.default", *three, outputs=(heads, sums), values=causal)
    assert time_of("flex_attention", *three, outputs=(heads, sums)) == forward > 1e-3
    backward = time_of(f"{flash}_backward.default", heads, *three, heads, sums, outputs=three, values=causal)
    assert time_of("flex_attention_backward", *three, heads, sums, heads, sums, outputs=three) == backward > forward
