"""Every operation of the table has a kernel, accepts its example launches, and equals a plain reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from math import erf, exp, sqrt, tanh
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from node.compute.dtypes import TORCH_DTYPES, torch_dtype
from node.compute.kernels import KERNELS, run
from node.errors import NodeError
from node.hardware.cost import kernel_cost
from node.hardware.device import ComputeSpec, DeviceSpec, QueueSpec, TierSpec
from node.hardware.operation import TensorType
from node.hardware.operations import OPERATIONS, complete_attributes, operation

Array = np.ndarray
TOLERANCE = {"fp32": 2e-5, "fp16": 4e-3, "bf16": 3e-2}
UNITS = ("vector", "tensor")
FP, F32, I64, I8 = "fp", "fp32", "int64", "int8"


@dataclass(frozen=True)
class Case:
    """A launch by operand types; ``fp`` stands for each of fp32, fp16 and bf16; int64 operands are below `high`.

    Inputs whose values are bound to one another are `given`, by index.
    """

    inputs: tuple[tuple[tuple[int, ...], str], ...]
    outputs: tuple[tuple[tuple[int, ...], str], ...]
    reference: Callable[..., tuple[Array, ...]]
    attributes: Mapping[str, object] = field(default_factory=dict)
    high: int = 5
    given: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def same(*shapes: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], str], ...]:
    return tuple((shape, FP) for shape in shapes)


def apply(function: Callable[[float], float], x: Array) -> Array:
    return np.vectorize(function, otypes=[float])(x)


PLAIN = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + exp(-x)),
}


def plain_attention(q: Array, keys: Array, values: Array, scale: float, sink: float = -np.inf) -> tuple[Array, float]:
    """One query (d) over tokens (n, d) and a sink: output (d) and log-sum-exp, by the definition."""
    if not len(keys):
        return np.zeros_like(q), -np.inf
    scores = np.array([scale * float(np.dot(q, key)) for key in keys])
    top = scores.max()
    lse = np.logaddexp(top + np.log(np.exp(scores - top).sum()), sink)
    return sum(np.exp(score - lse) * value for score, value in zip(scores, values, strict=True)), lse


def plain_prefill(q, k, v, sinks=None, *, scale, causal=True, window=0):
    out = np.zeros_like(q)
    per = q.shape[1] // k.shape[1]
    for b, h, t in np.ndindex(q.shape[:3]):
        first = max(0, t + 1 - window) if window else 0
        stop = t + 1 if causal else q.shape[2]
        seen = k[b, h // per, first:stop], v[b, h // per, first:stop]
        out[b, h, t], _ = plain_attention(q[b, h, t], *seen, scale, -np.inf if sinks is None else sinks[h])
    return (out,)


def plain_decode(q, *segments, tokens, scale, starts=()):
    *segments, sinks = segments if len(segments) % 2 else (*segments, None)
    starts = starts or (0,) * len(tokens)
    out, lse = np.zeros_like(q), np.zeros(q.shape[:2])
    per = q.shape[1] // segments[0].shape[1]
    for b, h in np.ndindex(q.shape[:2]):
        keys, values = (
            np.concatenate([s[b, h // per, i:j] for s, i, j in zip(segments[odd::2], starts, tokens, strict=True)])
            for odd in (0, 1)
        )
        sink = -np.inf if sinks is None else sinks[h]
        out[b, h], lse[b, h] = plain_attention(q[b, h], keys, values, scale, sink)
    return out, lse


def plain_block(q, k, v, scale, causal=True, offset=0):
    out, lse = np.zeros_like(q), np.zeros(q.shape[:3])
    per = q.shape[2] // k.shape[2]
    for t, b, h in np.ndindex(q.shape[:3]):
        stop = max(0, min(len(k), t + offset + 1)) if causal else len(k)
        out[t, b, h], lse[t, b, h] = plain_attention(q[t, b, h], k[:stop, b, h // per], v[:stop, b, h // per], scale)
    return out, lse


def plain_merge(*parts):
    lse = np.logaddexp.reduce(np.stack(parts[1::2]))
    weights = [np.exp(part - lse)[..., None] for part in parts[1::2]]
    return sum(weight * out for weight, out in zip(weights, parts[0::2], strict=True)), lse


def plain_rotary(x, head_dim, position, theta, factor=1.0):
    heads = x.reshape(x.shape[0], -1, x.shape[-1] // head_dim, head_dim)
    out = np.zeros_like(heads)
    half = head_dim // 2
    for t in range(heads.shape[1]):
        for i in range(half):
            angle = (position + t) / factor * theta ** (-2 * i / head_dim)
            a, b = heads[:, t, :, i], heads[:, t, :, i + half]
            out[:, t, :, i] = a * np.cos(angle) - b * np.sin(angle)
            out[:, t, :, i + half] = b * np.cos(angle) + a * np.sin(angle)
    return (out.reshape(x.shape),)


def plain_layer_norm(x, w, bias, eps):
    return ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * w + bias,)


def plain_rms_norm(x, w, eps, offset=0.0):
    return (x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (offset + w),)


def plain_softmax(x):
    return (np.exp(x) / np.exp(x).sum(-1, keepdims=True),)


def plain_top_k(x, k):
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1), order


def plain_quantise(x):
    scale = np.abs(x).max(-1) / 127
    return np.round(x / scale[..., None]), scale


def heads_of(x, heads):
    return (x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3),)


def cases_of(*names):
    """Those of other files beside this one."""
    found = {}
    for name in names:
        spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.cases(Case)
    return found


KV = ((2, 2, 6, 4), (2, 2, 6, 4))
CASES: Mapping[str, tuple[Case, ...]] = {
    "linear": (
        Case(same((2, 3, 8), (5, 8)), same((2, 3, 5)), lambda x, w: (x @ w.T,)),
        Case(same((8,), (5, 8), (5,)), same((5,)), lambda x, w, bias: (x @ w.T + bias,)),
    ),
    "matmul": (Case(same((3, 8), (8, 5)), same((3, 5)), lambda a, b: (a @ b,)),),
    "layer_norm": (Case(same((2, 3, 8), (8,), (8,)), same((2, 3, 8)), plain_layer_norm, {"eps": 1e-5}),),
    "rms_norm": (
        Case(same((4, 8), (8,)), same((4, 8)), plain_rms_norm, {"eps": 1e-6}),
        Case((((4, 8), FP), ((8,), F32)), same((4, 8)), plain_rms_norm, {"eps": 1e-6, "offset": 1.0}),
    ),
    "softmax": (Case(same((3, 7)), same((3, 7)), plain_softmax),),
    "add": (
        Case(same((3, 7), (3, 7)), same((3, 7)), lambda a, b: (a + b,)),
        Case(same((2, 3, 7), (7,)), same((2, 3, 7)), lambda a, b: (a + b,)),
        Case((((4,), I64), ((4,), I64)), (((4,), I64),), lambda a, b: (a + b,)),
    ),
    "multiply": (
        Case(same((3, 7), (3, 7)), same((3, 7)), lambda a, b: (a * b,)),
        Case(same((3, 7), (7,)), same((3, 7)), lambda a, b: (a * b,)),
    ),
    "activation": tuple(
        Case(same((3, 7)), same((3, 7)), lambda x, kind: (apply(PLAIN[kind], x),), {"kind": kind}) for kind in PLAIN
    ),
    "gated_activation": tuple(
        Case(same((3, 7), (3, 7)), same((3, 7)), lambda g, u, kind: (apply(PLAIN[kind], g) * u,), {"kind": kind})
        for kind in PLAIN
    ),
    "cast": (
        Case(same((3, 7)), (((3, 7), F32),), lambda x: (x,)),
        Case((((3, 7), F32),), same((3, 7)), lambda x: (x,)),
        Case((((3, 7), I64),), (((3, 7), "int32"),), lambda x: (x,)),
    ),
    "copy": (
        Case(same((3, 7)), same((3, 7)), lambda x: (x,)),
        Case((((3, 7), I8),), (((3, 7), I8),), lambda x: (x,)),
    ),
    "rotary": (
        Case(same((2, 3, 16)), same((2, 3, 16)), plain_rotary, {"head_dim": 8, "position": 5, "theta": 10000.0}),
        Case(
            same((2, 16)),
            same((2, 16)),
            plain_rotary,
            {"head_dim": 4, "position": 40, "theta": 1000, "factor": 8.0},
        ),
    ),
    "prefill_attention": (
        Case(same((2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)), same((2, 4, 5, 4)), plain_prefill, {"scale": 0.5}),
        Case(same(*[(1, 2, 5, 4)] * 3), same((1, 2, 5, 4)), plain_prefill, {"scale": 0.5, "window": 2}),
        Case(same(*[(1, 2, 5, 4)] * 3), same((1, 2, 5, 4)), plain_prefill, {"scale": 0.5, "window": 9}),
        Case(same(*[(1, 2, 5, 4)] * 3), same((1, 2, 5, 4)), plain_prefill, {"scale": 1, "causal": False}),
        Case(same((2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4), (4,)), same((2, 4, 5, 4)), plain_prefill, {"scale": 0.5}),
        Case(same(*[(1, 2, 5, 4)] * 3, (2,)), same((1, 2, 5, 4)), plain_prefill, {"scale": 0.5, "window": 2}),
    ),
    "block_attention": (
        Case(
            same((5, 2, 4, 4), (5, 2, 2, 4), (5, 2, 2, 4)),
            (((5, 2, 4, 4), FP), ((5, 2, 4), F32)),
            plain_block,
            {"scale": 0.5},
        ),
        Case(
            same((5, 1, 2, 4), (3, 1, 2, 4), (3, 1, 2, 4)),
            (((5, 1, 2, 4), FP), ((5, 1, 2), F32)),
            plain_block,
            {"scale": 0.5, "offset": -2},
        ),
        Case(
            same((2, 1, 3, 4), (6, 1, 1, 4), (6, 1, 1, 4)),
            (((2, 1, 3, 4), FP), ((2, 1, 3), F32)),
            plain_block,
            {"scale": 0.5, "offset": 3},
        ),
        Case(
            same((2, 1, 2, 4), (3, 1, 2, 4), (3, 1, 2, 4)),
            (((2, 1, 2, 4), FP), ((2, 1, 2), F32)),
            plain_block,
            {"scale": 0.5, "causal": False},
        ),
    ),
    "decode_attention": (
        Case(same((2, 4, 4), *KV), (((2, 4, 4), FP), ((2, 4), F32)), plain_decode, {"tokens": (6,), "scale": 0.5}),
        Case(
            same((2, 4, 4), *KV, *KV, (4,)),
            (((2, 4, 4), FP), ((2, 4), F32)),
            plain_decode,
            {"tokens": (5, 2), "starts": (3, 1), "scale": 0.5},
        ),
        Case(
            same((2, 4, 4), *KV, (2, 2, 3, 4), (2, 2, 3, 4)),
            (((2, 4, 4), FP), ((2, 4), F32)),
            plain_decode,
            {"tokens": (5, 2), "starts": (3, 1), "scale": 0.5},
        ),
        Case(
            same((2, 2, 4), *KV, *KV),
            (((2, 2, 4), FP), ((2, 2), F32)),
            plain_decode,
            {"tokens": (0, 4), "scale": 0.5},
        ),
        Case(
            same((2, 2, 4), *KV, *KV),
            (((2, 2, 4), FP), ((2, 2), F32)),
            plain_decode,
            {"tokens": (0, 4), "starts": (0, 4), "scale": 0.5},
        ),
    ),
    "merge_attention": (
        Case(
            (((2, 3, 4), FP), ((2, 3), F32)) * 3,
            (((2, 3, 4), FP), ((2, 3), F32)),
            plain_merge,
        ),
        Case((((2, 3, 4), FP), ((2, 3), F32)) * 2, (((2, 3, 4), FP),), plain_merge),
        Case(
            (((5, 2, 3, 4), F32), ((5, 2, 3), F32), ((5, 2, 3, 4), FP), ((5, 2, 3), F32)),
            (((5, 2, 3, 4), F32), ((5, 2, 3), F32)),
            plain_merge,
        ),
    ),
    "split": (Case(same((2, 3, 9)), same((2, 3, 4), (2, 3, 5)), lambda x: (x[..., :4], x[..., 4:])),),
    "concat": (
        Case(same((3, 4), (3, 5), (3, 1)), same((3, 10)), lambda *parts: (np.concatenate(parts, -1),)),
        Case((((2,), I64), ((3,), I64)), (((5,), I64),), lambda *parts: (np.concatenate(parts, -1),)),
    ),
    "to_heads": (Case(same((2, 3, 8)), same((2, 4, 3, 2)), heads_of, {"heads": 4}),),
    "swap_axes": (Case(same((2, 3, 4)), same((3, 2, 4)), lambda x: (x.transpose(1, 0, 2),)),),
    "from_heads": (Case(same((2, 4, 3, 2)), same((2, 3, 8)), lambda x: (x.transpose(0, 2, 1, 3).reshape(2, 3, 8),)),),
    "take_rows": (Case(same((2, 3, 8)), same((2, 8)), lambda x, row: (x[:, row],), {"row": 2}),),
    "kv_write": (
        Case(same((2, 2, 5, 4)), same((2, 2, 5, 4)), lambda x, position, tokens: (x,), {"position": 0, "tokens": 5}),
    ),
    "embedding": (
        Case((((5, 8), FP), ((2, 3), I64)), same((2, 3, 8)), lambda table, ids: (table[ids],)),
        Case((((5, 8), FP), ((4,), I64)), same((4, 8)), lambda t, ids, scale: (t[ids] * scale,), {"scale": 25.3}),
    ),
    "gather": (Case((((5, 8), FP), ((3,), I64)), same((3, 8)), lambda x, ids: (x[ids],)),),
    "top_k": (Case(same((2, 3, 9)), (((2, 3, 4), FP), ((2, 3, 4), I64)), plain_top_k, {"k": 4}),),
    "argmax": (
        Case(same((2, 9)), (((2,), I64),), lambda x: (x.argmax(-1),)),
        Case(same((9,)), (((), I64),), lambda x: (np.array(x.argmax(-1)),)),
    ),
    "reduce": (
        Case((((4,), I64),) * 3, (((4,), I64),), lambda *xs, kind: (sum(xs),), {"kind": "sum"}),
        *(
            Case(same(*[(3, 4)] * 3), same((3, 4)), lambda *xs, kind, f=f: (f(np.stack(xs), axis=0),), {"kind": kind})
            for kind, f in (("sum", np.sum), ("max", np.max), ("min", np.min), ("mean", np.mean))
        ),
    ),
    "quantise": (Case((((3, 9), F32),), (((3, 9), I8), ((3,), F32)), plain_quantise),),
    "dequantise": (Case((((3, 9), I8), ((3,), F32)), same((3, 9)), lambda q, scale: (q * scale[..., None],)),),
    "delay": (Case((), (), lambda seconds: (), {"seconds": 0.5}),),
    **cases_of(
        "training_cases", "sparse_cases", "expert_cases", "expert_parallel_cases", "packed_cases", "paged_cases"
    ),
}


LAUNCHES = [
    pytest.param(name, case, dtype, id=f"{name}-{index}-{dtype}")
    for name, cases in CASES.items()
    for index, case in enumerate(cases)
    for dtype in ("fp32", "fp16", "bf16")
    if dtype == "fp32" or any(kind == FP for _, kind in case.inputs + case.outputs)
]


def make(case: Case, dtype: str, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs; and outputs with what an earlier kernel left there, so that one that adds instead of writing is seen."""
    generator, inputs = torch.Generator().manual_seed(seed), list[Tensor]()
    for index, (shape, kind) in enumerate(case.inputs):
        if index in case.given:
            inputs.append(torch.tensor(case.given[index], dtype=TORCH_DTYPES[kind]))
        elif kind in (I64, I8):
            inputs.append(torch.randint(0, case.high, shape, generator=generator).to(TORCH_DTYPES[kind]))
        else:
            drawn = torch.randn(shape, generator=generator)
            as_type = torch_dtype({FP: dtype, "positive": "fp32"}.get(kind, kind))
            inputs.append((drawn.abs() if kind == "positive" else drawn).to(as_type))
    return inputs, [torch.full(s, 7, dtype=torch_dtype(dtype if k == FP else k)) for s, k in case.outputs]


def types(tensors: list[Tensor]) -> list[TensorType]:
    names = dict(zip(TORCH_DTYPES.values(), TORCH_DTYPES, strict=True))
    return [TensorType(tuple(tensor.shape), names[tensor.dtype]) for tensor in tensors]


def plain(tensor: Tensor) -> Array:
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()


def expect(case: Case, inputs: list[Tensor]) -> tuple[Array, ...]:
    return case.reference(*[plain(tensor) for tensor in inputs], **case.attributes)


def compare(got: list[Tensor], expected: tuple[Array, ...], dtype: str) -> None:
    for tensor, reference in zip(got, expected, strict=False):
        np.testing.assert_allclose(plain(tensor), reference, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_every_operation_has_a_kernel_and_a_case():
    assert list(KERNELS) and set(KERNELS) == set(OPERATIONS) == set(CASES)


@pytest.mark.parametrize(("name", "case", "dtype"), LAUNCHES)
def test_kernel_equals_reference(name: str, case: Case, dtype: str):
    inputs, outputs = make(case, dtype)
    before = [tensor.clone() for tensor in inputs]
    operation(name).check(types(inputs), types(outputs), case.attributes)
    run(name, inputs, outputs, case.attributes)
    compare(outputs, expect(case, before), dtype)
    for tensor, old in zip(inputs, before, strict=True):
        assert torch.equal(tensor, old), "an input was written"


@pytest.mark.parametrize(("name", "case", "dtype"), [launch for launch in LAUNCHES if launch.values[2] == "fp32"])
def test_output_may_be_an_input(name: str, case: Case, dtype: str):
    for i, j in np.ndindex(len(case.inputs), len(case.outputs)):
        inputs, outputs = make(case, dtype)
        if inputs[i].shape == outputs[j].shape and inputs[i].dtype == outputs[j].dtype:
            expected = expect(case, inputs)
            outputs[j] = inputs[i]
            run(name, inputs, outputs, case.attributes)
            compare(outputs, expected, dtype)


@pytest.mark.parametrize(("name", "case", "dtype"), [launch for launch in LAUNCHES if launch.values[2] == "fp32"])
def test_output_may_overlap_an_input_in_part(name: str, case: Case, dtype: str):
    for i, j in np.ndindex(len(case.inputs), len(case.outputs)):
        inputs, outputs = make(case, dtype)
        source, target = inputs[i], outputs[j]
        if source.dtype != target.dtype or source.numel() < 2:
            continue
        expected = expect(case, inputs)
        # One stretch of memory: the input lies at its start, the output one element further.
        memory = torch.zeros(source.numel() + target.numel() + 1, dtype=source.dtype)
        inputs[i] = memory[: source.numel()].view(source.shape).copy_(source)
        outputs[j] = memory[1 : target.numel() + 1].view(target.shape)
        run(name, inputs, outputs, case.attributes)
        compare(outputs, expected, dtype)


@pytest.mark.parametrize(("name", "case", "dtype"), LAUNCHES)
def test_demand_is_sane(name: str, case: Case, dtype: str):
    inputs, outputs = make(case, dtype)
    demand = operation(name).demand(types(inputs), types(outputs), case.attributes)
    assert len(demand.reads) == len(inputs) and len(demand.writes) == len(outputs)
    assert all(0 <= read <= tensor.nbytes for read, tensor in zip(demand.reads, inputs, strict=True) if name not in
               ("embedding", "gather", "round_rows"))  # fmt: skip
    assert all(0 <= write <= tensor.nbytes for write, tensor in zip(demand.writes, outputs, strict=True))
    assert demand.flop >= 0 and demand.family and demand.dtype in ("fp32", "fp16", "bf16", "int8")


@pytest.mark.parametrize("name", OPERATIONS)
def test_attributes_of_the_case_are_completed(name: str):
    entry = operation(name)
    for case in CASES[name]:
        complete = complete_attributes(entry, case.attributes)
        assert set(complete) == set(entry.attributes)
        assert complete_attributes(entry, complete) is complete


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_extent_of_zero_computes_nothing_or_is_refused(name: str):
    """Every extent of the case set to zero, wherever it occurs: check, cost and kernel end without an untyped error."""
    tier = TierSpec("hbm", "dram", 1 << 40, 1e12, 1e12)
    units = {unit: ComputeSpec(unit, dict.fromkeys(("fp64", "fp32", "bf16", "fp16", "int8"), 1e12)) for unit in UNITS}
    spec = DeviceSpec("test", "gpu", "", {"hbm": tier}, units, {}, {"stream": QueueSpec("stream", "compute")})
    for case in CASES[name]:
        for extent in {extent for shape, _ in (*case.inputs, *case.outputs) for extent in shape}:
            given, wanted = (
                [
                    TensorType(tuple(0 if n == extent else n for n in shape), F32 if dtype == FP else dtype)
                    for shape, dtype in operands
                ]
                for operands in (case.inputs, case.outputs)
            )
            try:
                operation(name).check(given, wanted, case.attributes)
                demand = operation(name).demand(given, wanted, case.attributes)
                kernel_cost(spec, demand, ["hbm"] * len(given), ["hbm"] * len(wanted))
                made = [[torch.zeros(x.shape, dtype=torch_dtype(x.dtype)) for x in side] for side in (given, wanted)]
                run(name, *made, case.attributes)
            except NodeError as error:
                assert str(error)
