"""Times of steps by hand on a box of round numbers: 10 GB/s and two links of 1 us a hop."""

from __future__ import annotations

import pytest

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.measure import measure, prepare
from controller.collectives.group import first_ranks
from controller.topology.loader import load_topology

EXACT = 1e-9
TOKENS = 64
"""Of a rank: few enough that sending takes longer than computing."""


def steps(box, call, name):
    entry = prepare(call, name)
    outcome = measure(box(call.world_size), entry)
    assert outcome.ok, outcome.ended
    assert sum(step.time_s for step in entry.steps) == pytest.approx(entry.time_s, rel=EXACT)
    return entry.steps


@pytest.mark.parametrize("name", ["ring", "striped", "zigzag"])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_keys_and_values_set_the_time(attention_call, box, name, ranks):
    """Each step but the last is one transfer of K and V: 2 us and its bytes at 10 GB/s."""
    call = attention_call(ranks, TOKENS * ranks, heads=16, kv_heads=16, head_dim=64, causal=False)
    nbytes = 2 * TOKENS * 16 * 64 * 4
    found = steps(box, call, name)
    assert len(found) == ranks
    for step in found[:-1]:
        assert step.time_s == pytest.approx(2e-6 + nbytes / 10e9, rel=EXACT)
        assert step.sent_bytes == ranks * nbytes
        assert step.exposed_s == pytest.approx(step.time_s - step.attention_s - step.merge_s, rel=EXACT)
    assert found[-1].sent_bytes == 0 and found[-1].exposed_s == pytest.approx(0.0, abs=1e-12)


def test_token_ring_sends_half_as_much_forwards(attention_call, box):
    call = attention_call(4, TOKENS * 4, heads=16, kv_heads=16, head_dim=64, causal=False)
    found = steps(box, call, "token_ring")
    q = TOKENS * 16 * 64 * 4
    lse = TOKENS * 16 * 4
    sent = [step.sent_bytes / 4 for step in found]
    # Queries alone, then with results of the step before; no queries in the last step, then the last results.
    assert sent == [q, q, q + q + lse, q + lse, q + lse]
    assert found[0].time_s == found[1].time_s == pytest.approx(2e-6 + q / 10e9, rel=EXACT)
    assert found[2].time_s > found[1].time_s


def test_token_ring_uses_both_directions_of_a_ring_of_connections(attention_call, box):
    """A connection that carries 1 GB/s to one peer: keys and values take twice what queries and results do."""
    call = attention_call(4, TOKENS * 4, heads=16, kv_heads=16, head_dim=64, causal=False, connection_bytes_per_s=1e9)
    nbytes = TOKENS * 16 * 64 * 4
    ring, token_ring = steps(box, call, "ring"), steps(box, call, "token_ring")
    assert ring[1].time_s == pytest.approx(2e-6 + 2 * nbytes / 1e9, rel=EXACT)
    # What follows a transfer, merging, is compute: the exchange itself is as long as without results.
    assert token_ring[2].time_s - token_ring[2].merge_s == pytest.approx(2e-6 + nbytes / 1e9, rel=0.05)


def test_a_causal_mask_is_balanced_by_stripes_and_mirrors_alone():
    """The last of eight ranks in a ring computes seven and a half blocks, every rank of the others eight halves."""
    topology = load_topology("dgx_h100")
    call = AttentionCall(first_ranks(topology, 8), 65536, 32, 8, 128)
    computed = {}
    for name in ("ring", "striped", "zigzag"):
        entry = prepare(call, name)
        assert measure(topology, entry).ok
        computed[name] = sum(step.attention_s for step in entry.steps)
    # Operands and the start of tiles are paid for halves as for wholes; the longest row of tiles counts, too.
    assert 1.7 < computed["ring"] / computed["zigzag"] < 7.5 / 4
    assert computed["striped"] == pytest.approx(computed["zigzag"], rel=0.02)


def test_one_rank_sends_nothing(attention_call, box):
    for name in ("ring", "striped", "zigzag", "token_ring"):
        (step,) = steps(box, attention_call(1, 64), name)
        assert step.sent_bytes == 0 and step.merge_s == 0.0 and step.attention_s > 0


def test_two_measurements_give_the_same_bits(attention_call, box):
    first, second = (steps(box, attention_call(3, 24), "token_ring") for _ in range(2))
    assert first == second
    assert all(step.time_s > 0 for step in first)
