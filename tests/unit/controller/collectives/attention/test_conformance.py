"""Every scheme of the table gives attention as one device computes it, in any order that the edges allow."""

from __future__ import annotations

import pytest
from attention_values import earliest, largest_error, latest

from controller.collectives.attention.layouts import CONTIGUOUS, MIRRORED
from controller.collectives.attention.measure import measure, prepare
from controller.collectives.attention.table import SCHEMES, scheme
from controller.plan.check import check_plan
from controller.plan.extents import touched_buffers
from node.hardware.operations.attention import visible_pairs

EXACT = 1e-12


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "all"])
@pytest.mark.parametrize("ranks", range(1, 9))
@pytest.mark.parametrize("name", SCHEMES)
def test_values_are_those_of_one_device(attention_call, name, ranks, causal):
    call = attention_call(ranks, 4 * ranks, causal=causal)
    entry = prepare(call, name)
    assert largest_error(call, entry.plan, entry.layout, earliest) < EXACT
    assert largest_error(call, entry.plan, entry.layout, latest) < EXACT


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 3, "kv_heads": 3},
        {"heads": 6, "kv_heads": 1},
        {"heads": 1, "kv_heads": 1, "head_dim": 1},
        {"batch": 3},
        {"dtype": "bf16", "batch": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SCHEMES)
def test_heads_batch_and_types(attention_call, name, changes):
    call = attention_call(3, 12, **changes)
    entry = prepare(call, name)
    assert largest_error(call, entry.plan, entry.layout) < EXACT


@pytest.mark.parametrize("name", SCHEMES)
def test_the_shortest_sequences(attention_call, name):
    """One token a part: half of the blocks of striped attention are empty."""
    function, layout = scheme(name)
    for ranks in (1, 2, 5):
        call = attention_call(ranks, layout.parts * ranks)
        assert largest_error(call, function(call), layout, latest) < EXACT


@pytest.mark.parametrize("name", SCHEMES)
def test_a_rank_too_few_edges_would_show(attention_call, name):
    """The twin runs ops in any allowed order: without the edges, some order reads what has not arrived."""
    call = attention_call(4, 16)
    plan, layout = prepare(call, name).plan, scheme(name)[1]
    object.__setattr__(plan, "after", tuple(() for _ in plan.ops))
    assert largest_error(call, plan, layout, latest) > 1e-3


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("name", SCHEMES)
def test_plans_pass_the_check_of_plans_of_strangers(attention_call, box, name, ranks):
    call = attention_call(ranks, 4 * ranks, dtype="bf16")
    check_plan(prepare(call, name).plan, box(ranks))


@pytest.mark.parametrize("name", SCHEMES)
def test_inputs_are_left_as_they_were(attention_call, name):
    plan = prepare(attention_call(3, 12), name).plan
    written = {
        view.buffer.name for op in plan.ops for view in (op.outputs if hasattr(op, "outputs") else op.destinations)
    }
    assert not written & {"q", "kv"}


@pytest.mark.parametrize("name", SCHEMES)
def test_memory_does_not_grow_with_the_group(attention_call, name):
    """Eight ranks of eight tokens hold what three ranks of eight tokens do, each."""
    held = []
    for ranks in (3, 8):
        plan = prepare(attention_call(ranks, 8 * ranks), name).plan
        held.append(sum(buffer.nbytes for buffer in touched_buffers(plan) if buffer.device == "gpu0"))
    # Which rows of a partial result rank 0 holds depends on its place, the buffers do not.
    assert held[0] == held[1]


@pytest.mark.parametrize("name", SCHEMES)
def test_all_work_is_done_once(attention_call, box, name):
    """Pairs of query and key over all ranks are those of the sequence."""
    call = attention_call(4, 32)
    entry = prepare(call, name)
    pairs = sum(
        visible_pairs(
            op.inputs[0].shape[0], op.inputs[1].shape[0], bool(op.attributes["causal"]), int(op.attributes["offset"])
        )
        for op in entry.plan.ops
        if getattr(op, "op", "") == "block_attention"
    )
    assert pairs == 32 * 33 // 2
    assert measure(box(4), entry).ok and entry.time_s > 0


def test_layouts_deal_out_every_token_once(attention_call):
    for layout in (scheme(name)[1] for name in SCHEMES):
        for ranks in (1, 2, 3, 8):
            call = attention_call(ranks, 12 * ranks)
            dealt = [token for rank in range(ranks) for token in layout.positions(call, rank).tolist()]
            assert sorted(dealt) == list(range(12 * ranks))


def test_token_ring_lies_as_zigzag_does():
    assert scheme("token_ring")[1] is MIRRORED is scheme("zigzag")[1]
    assert scheme("ring")[1] is CONTIGUOUS
