"""What the conformance cases do not show: ends of ranges, ties, in-place kernels, errors."""

from __future__ import annotations

import pytest
import torch

from node.compute.dtypes import TORCH_DTYPES, torch_dtype
from node.compute.kernels import run
from node.errors import BadAttribute, DtypeMismatch, OutOfRange, UnknownOperation
from node.hardware.operation import ITEM_BYTES


def test_dtypes_are_those_of_the_table():
    assert set(TORCH_DTYPES) == set(ITEM_BYTES)
    for name, dtype in TORCH_DTYPES.items():
        assert torch.empty(0, dtype=dtype).element_size() == ITEM_BYTES[name]
    assert len(set(TORCH_DTYPES.values())) == len(TORCH_DTYPES)


def test_unknown_dtypes():
    with pytest.raises(DtypeMismatch, match="'bfloat16', expected one of fp64, fp32"):
        torch_dtype("bfloat16")


def test_unknown_operation_and_attribute():
    x = torch.ones(2)
    with pytest.raises(UnknownOperation, match="did you mean 'add'"):
        run("adds", [x, x], [x], {})
    with pytest.raises(BadAttribute, match="'alpha'"):
        run("add", [x, x], [x], {"alpha": 2.0})


@pytest.mark.parametrize("name", ["embedding", "gather"])
@pytest.mark.parametrize("index", [-1, 5])
def test_index_outside_of_the_table(name: str, index: int):
    with pytest.raises(OutOfRange, match=f"{name}: .*5 rows: .* expected 0 to 4"):
        run(name, [torch.zeros(5, 2), torch.tensor([1, index])], [torch.zeros(2, 2)], {})


def test_kv_write_changes_only_its_tokens():
    source = torch.arange(24.0).view(1, 2, 6, 2)
    cache = torch.full((1, 2, 9, 2), -1.0)
    run("kv_write", [source], [cache], {"position": 4, "start": 1, "tokens": 3})
    assert torch.equal(cache[:, :, 4:7], source[:, :, 1:4])
    assert bool((cache[:, :, :4] == -1).all()) and bool((cache[:, :, 7:] == -1).all())


def test_kv_write_of_no_token_changes_nothing():
    cache = torch.full((1, 1, 3, 2), -1.0)
    run("kv_write", [torch.ones(1, 1, 2, 2)], [cache], {"position": 3, "start": 2, "tokens": 0})
    assert bool((cache == -1).all())


def test_kv_write_shifts_within_its_own_cache():
    cache = torch.arange(8.0).view(1, 1, 8, 1)
    run("kv_write", [cache], [cache], {"position": 1, "start": 0, "tokens": 7})
    assert cache.flatten().tolist() == [0, 0, 1, 2, 3, 4, 5, 6]


def test_decode_attention_without_a_token():
    out, lse = torch.ones(1, 2, 4), torch.ones(1, 2)
    cache = torch.full((1, 1, 3, 4), torch.nan)
    run("decode_attention", [torch.ones(1, 2, 4), cache, cache], [out, lse], {"tokens": (0,), "scale": 1.0})
    assert bool((out == 0).all()) and bool((lse == -torch.inf).all())


def test_decode_attention_ignores_what_lies_beyond_the_tokens():
    cache = torch.full((1, 1, 5, 4), torch.nan)
    cache[:, :, 1:3] = 1.0
    out, lse = torch.zeros(1, 2, 4), torch.zeros(1, 2)
    attributes = {"tokens": (3,), "starts": (1,), "scale": 1.0}
    run("decode_attention", [torch.ones(1, 2, 4), cache, cache], [out, lse], attributes)
    assert torch.allclose(out, torch.ones(1, 2, 4)) and bool(torch.isfinite(lse).all())


def test_merge_of_nothing_is_nothing():
    part, lse = torch.zeros(1, 2, 4), torch.full((1, 2), -torch.inf)
    out, total = torch.ones(1, 2, 4), torch.ones(1, 2)
    run("merge_attention", [part, lse, part, lse], [out, total], {})
    assert bool((out == 0).all()) and bool((total == -torch.inf).all())


def test_decode_attention_does_not_overflow():
    # Scores of 1000: the exponentials alone would be infinite.
    q, k, v = torch.full((1, 1, 1), 1000.0), torch.tensor([1.0, 0.999]).view(1, 1, 2, 1), torch.ones(1, 1, 2, 1)
    out, lse = torch.zeros(1, 1, 1), torch.zeros(1, 1)
    run("decode_attention", [q, k, v], [out, lse], {"tokens": (2,), "scale": 1.0})
    assert out.item() == pytest.approx(1.0) and lse.item() == pytest.approx(1000.3133, abs=1e-3)  # + log(1 + 1/e)


def test_equal_elements_are_taken_by_index():
    x = torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    values, ids = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64)
    run("top_k", [x], [values, ids], {"k": 3})
    assert ids.tolist() == [[1, 3, 2], [0, 1, 2]] and values.tolist() == [[3.0, 3.0, 2.0], [0.0, 0.0, 0.0]]
    x = torch.zeros(1, 1000)
    x[0, [700, 20, 300]] = 5.0
    values, ids = torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.int64)
    run("top_k", [x], [values, ids], {"k": 3})
    assert ids.tolist() == [[20, 300, 700]]
    first = torch.zeros(1, dtype=torch.int64)
    run("argmax", [x], [first], {})
    assert first.item() == 20


def test_half_sums_round_once():
    # 256 + 1 is 256 in bf16; three ones added one by one would vanish, 256 + 3 rounds to 260.
    parts = [torch.tensor([256.0], dtype=torch.bfloat16)] + [torch.ones(1, dtype=torch.bfloat16)] * 3
    out = torch.zeros(1, dtype=torch.bfloat16)
    run("reduce", parts, [out], {"kind": "sum"})
    assert out.item() == 260.0


def test_quantise_of_zeros_is_zero():
    q, scale = torch.ones(2, 3, dtype=torch.int8), torch.ones(2)
    run("quantise", [torch.zeros(2, 3)], [q, scale], {})
    assert bool((q == 0).all()) and bool((scale == 0).all())
    back = torch.ones(2, 3)
    run("dequantise", [q, scale], [back], {})
    assert bool((back == 0).all())


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_equals_the_optimizer_of_torch(decay: float):
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(50, generator=generator)
    m, v = torch.zeros(50), torch.zeros(50)
    theirs = torch.nn.Parameter(p.clone())
    # Without weight decay AdamW and Adam are one.
    kind = torch.optim.AdamW if decay else torch.optim.Adam
    optimizer = kind([theirs], lr=0.02, betas=(0.9, 0.95), eps=1e-6, weight_decay=decay)
    for step in range(1, 6):
        gradient = torch.randn(50, generator=generator)
        theirs.grad = gradient.clone()
        optimizer.step()
        attributes = {"lr": 0.02, "beta2": 0.95, "eps": 1e-6, "weight_decay": decay, "step": step}
        run("adam", [p, gradient, m, v], [p, m, v], attributes)
        assert torch.allclose(p, theirs.detach(), rtol=1e-6, atol=1e-7)


def test_adam_into_other_memory_leaves_its_inputs():
    old = [torch.full((4,), value) for value in (1.0, 0.5, 0.25, 0.125)]
    out = [torch.zeros(4) for _ in range(3)]
    run("adam", old, out, {"lr": 0.1, "step": 1})
    assert [tensor[0].item() for tensor in old] == [1.0, 0.5, 0.25, 0.125]
    run("adam", old, [old[0], old[2], old[3]], {"lr": 0.1, "step": 1})
    assert all(torch.equal(a, b) for a, b in zip(out, (old[0], old[2], old[3]), strict=True))


@pytest.mark.parametrize("name", ["fp64", "fp8", "int16", "uint8", "bool", "int64"])
def test_moves_take_every_type(name: str):
    dtype = torch_dtype(name)
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]).to(dtype)

    def moved(op: str, inputs: list, shape: tuple, attributes: dict | None = None) -> list:
        out = torch.zeros(shape, dtype=dtype)
        run(op, inputs, [out], attributes or {})
        return out.double().tolist()

    rows = x.double().tolist()
    assert moved("copy", [x], (2, 4)) == rows
    assert moved("concat", [x, x], (2, 8)) == [row + row for row in rows]
    assert moved("gather", [x, torch.tensor([1, 1])], (2, 4)) == [rows[1], rows[1]]
    assert moved("take_rows", [x.view(1, 2, 4)], (1, 4), {"row": 1}) == [rows[1]]
    assert moved("from_heads", [x.view(1, 2, 1, 4)], (1, 1, 8)) == [[rows[0] + rows[1]]]
    assert moved("kv_write", [x.view(1, 1, 2, 4)], (1, 1, 2, 4), {"position": 0, "tokens": 2}) == [[rows]]
    back = torch.zeros(2, 4)
    run("cast", [x], [back], {})
    assert back.tolist() == rows


def test_rotary_of_rows_at_positions_of_their_own():
    x, together, alone = torch.randn(3, 16), torch.empty(3, 16), torch.empty(1, 16)
    attributes = {"head_dim": 8, "theta": 1e4, "factor": 2.0}
    run("rotary", [x, torch.tensor([7, 0, 2])], [together], {**attributes, "position": 1})
    for row, position in enumerate((8, 1, 3)):
        run("rotary", [x[row : row + 1]], [alone], {**attributes, "position": position})
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=0)
