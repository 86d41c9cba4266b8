"""Uncontended plans take exactly what their alpha-beta formula says, to 1e-9.

``a`` is a hop (two links of 1 us), ``b`` the time of a byte on a link (10 GB/s), ``g`` one reduction: its launch of
3 us and its reading of two operands, or writing, at 1 TB/s. The formulas are the textbook's, written out by hand.
"""

from math import log2

import pytest

from controller.collectives.call import Call
from controller.collectives.measure.calls import measure, prepare

A, B, LAUNCH, READ = 2e-6, 1 / 10e9, 3e-6, 1 / 1000e9
COUNT = 16 * 3 * 5 * 7 * 64
SIZE = 4 * COUNT


def reduction(size, operands=2):
    return LAUNCH + operands * size * READ


def time_of(box, group, collective, name, size, count=COUNT, **options):
    entry = prepare(Call(collective, group(size), count, in_place=options.pop("in_place", True), **options), name)
    assert measure(box(size), entry).ok
    return entry.time_s


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 16])
def test_rings(n, box, group):
    chunk = SIZE / n
    send, add = A + chunk * B, reduction(chunk)
    half = (n - 1) * (send + add)
    assert time_of(box, group, "reduce_scatter", "ring", n) == pytest.approx(half, rel=1e-9)
    assert time_of(box, group, "all_gather", "ring", n) == pytest.approx((n - 1) * send, rel=1e-9)
    assert time_of(box, group, "all_reduce", "ring", n) == pytest.approx(half + (n - 1) * send, rel=1e-9)


@pytest.mark.parametrize("n", [3, 4, 8, 16])
def test_a_ring_in_both_directions_adds_two_halves_on_one_stream(n, box, group):
    """Around one switch both rings share every link, so bandwidth is that of one ring.

    One half's message is on its way while the other half is added, so the time lies between that of the bytes alone
    and that of one ring with twice as many launches.
    """
    chunk = SIZE / n
    one = time_of(box, group, "all_reduce", "ring", n)
    both = time_of(box, group, "all_reduce", "bidirectional_ring", n)
    assert 2 * (n - 1) * chunk * B < both < one + (n - 1) * LAUNCH


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_halving_and_doubling(n, box, group):
    exchanges = sum(A + SIZE / 2**k * B for k in range(1, int(log2(n)) + 1))
    additions = sum(reduction(SIZE / 2**k) for k in range(1, int(log2(n)) + 1))
    ours = time_of(box, group, "all_reduce", "halving_doubling", n)
    assert ours == pytest.approx(2 * exchanges + additions, rel=1e-9)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_halving_and_doubling_alone(n, box, group):
    steps = range(1, int(log2(n)) + 1)
    exchanges = sum(A + SIZE / 2**k * B for k in steps)
    additions = sum(reduction(SIZE / 2**k) for k in steps)
    scattered = time_of(box, group, "reduce_scatter", "halving", n)
    assert scattered == pytest.approx(exchanges + additions, rel=1e-9)
    assert time_of(box, group, "all_gather", "doubling", n) == pytest.approx(exchanges, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 16])
def test_direct_exchanges(n, box, group):
    chunk = SIZE / n
    once = A + (n - 1) * chunk * B
    assert time_of(box, group, "all_gather", "direct", n) == pytest.approx(once, rel=1e-9)
    scattered = time_of(box, group, "reduce_scatter", "direct", n)
    assert scattered == pytest.approx(once + reduction(chunk, n), rel=1e-9)
    reduced = time_of(box, group, "all_reduce", "direct", n)
    assert reduced == pytest.approx(2 * once + reduction(chunk, n), rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_star(n, box, group):
    """All workers share the master's link, in and out."""
    share = A + (n - 1) * SIZE * B
    assert time_of(box, group, "all_reduce", "star", n) == pytest.approx(2 * share + reduction(SIZE, n), rel=1e-9)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_binomial_broadcast(n, box, group):
    assert time_of(box, group, "broadcast", "binomial", n) == pytest.approx(log2(n) * (A + SIZE * B), rel=1e-9)


@pytest.mark.parametrize(("n", "pieces"), [(2, 1), (4, 1), (4, 4), (8, 16)])
def test_chain_broadcast(n, pieces, box, group):
    expected = (n - 2 + pieces) * (A + SIZE / pieces * B)
    assert time_of(box, group, "broadcast", "chain", n, pieces=pieces) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8])
def test_all_to_all(n, box, group):
    """Sending at once pays one hop, in rounds one a round; the bytes are the same."""
    block = SIZE / n
    direct = time_of(box, group, "all_to_all", "direct", n, in_place=False)
    assert direct == pytest.approx(A + (n - 1) * block * B, rel=1e-9)
    rounds = time_of(box, group, "all_to_all", "pairwise", n, in_place=False)
    assert rounds == pytest.approx((n - 1) * (A + block * B), rel=1e-9)


@pytest.mark.parametrize(("n", "rounds"), [(2, 1), (3, 2), (8, 3), (9, 4), (17, 5)])
def test_barrier(n, rounds, box, group):
    entry = prepare(Call("barrier", group(n), 1), "dissemination")
    assert measure(box(n), entry).ok
    told = sum(4 * min(1 << k, n - (1 << k)) for k in range(rounds))
    copy = 4 * READ
    # In the first round a rank's copy of its own flag comes first.
    assert entry.time_s == pytest.approx(copy + rounds * A + told * B, rel=1e-9)


@pytest.mark.parametrize(("n", "depth"), [(2, 1), (3, 1), (7, 2), (15, 3)])
def test_a_full_binary_tree(n, depth, box, group):
    """Two children share their parent's link on the way up, and on the way down."""
    children = min(n - 1, 2)
    up = A + children * SIZE * B + reduction(SIZE, children + 1)
    down = A + children * SIZE * B
    assert time_of(box, group, "all_reduce", "tree", n) == pytest.approx(depth * (up + down), rel=1e-9)


@pytest.mark.parametrize("name", ["ring", "bidirectional_ring", "tree", "double_binary_tree"])
def test_pieces_hide_reductions_of_large_messages(name, box, group):
    whole = time_of(box, group, "all_reduce", name, 8, 1000 * COUNT)
    assert time_of(box, group, "all_reduce", name, 8, 1000 * COUNT, pieces=4) < whole
