"""Flat tensors in pieces: nothing lost, nothing twice, shares to the element."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.plan.size import bind_size
from controller.strategies.cxl.spread import Spread, common_pieces, spread_group

PLACES = (("cpu", "dram"), ("aic0", "cxl"), ("aic1", "cxl"))


def spread(counts: list[int], placed: list[int], name: str = "g") -> Spread:
    return spread_group(name, [("part", counts)], "fp32", PLACES[: len(placed)], placed)[0]


def test_a_group_in_one_node_is_one_piece():
    made = spread([10, 5, 7], [88, 0, 0])
    assert len(made.pieces) == len(made.buffers) == 1
    assert made.buffers[0].shape == (22,) and made.buffers[0].device == "cpu"


def test_every_tensor_has_its_share_on_every_node():
    made = spread([40, 20], [4 * 30, 4 * 15, 4 * 15])
    assert [(piece.start, piece.stop, piece.buffer.device, piece.at) for piece in made.pieces] == [
        (0, 20, "cpu", 0), (20, 30, "aic0", 0), (30, 40, "aic1", 0),
        (40, 50, "cpu", 20), (50, 55, "aic0", 10), (55, 60, "aic1", 10),
    ]  # fmt: skip


def test_views_within_a_range_lie_where_their_pieces_do():
    made = spread([40, 20], [4 * 30, 4 * 30])
    found = [(first, last, view.buffer.device, view.offset_bytes) for first, last, view in made.within(10, 45)]
    assert found == [(10, 20, "cpu", 40), (20, 40, "aic0", 0), (40, 45, "cpu", 80)]


@given(st.data())
def test_shares_come_out_exactly_and_every_element_lies_once(data):
    parts = data.draw(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=4))
    total = sum(map(sum, parts))
    nodes = data.draw(st.integers(1, 3))
    cuts = sorted(data.draw(st.lists(st.integers(0, 4 * total), min_size=nodes - 1, max_size=nodes - 1)))
    placed = [stop - start for start, stop in zip([0, *cuts], [*cuts, 4 * total], strict=True)]
    made = spread_group("g", [(f"p{i}", sizes) for i, sizes in enumerate(parts)], "fp32", PLACES[:nodes], placed)
    used = dict.fromkeys(PLACES[:nodes], 0)
    for one, sizes in zip(made, parts, strict=True):
        assert one.elements == sum(sizes)
        assert [piece.start for piece in one.pieces[1:]] == [piece.stop for piece in one.pieces[:-1]]
        assert one.pieces[0].start == 0 and one.pieces[-1].stop == one.elements
        for buffer in one.buffers:
            taken = np.zeros(buffer.shape, int)
            for piece in one.pieces:
                if piece.buffer == buffer:
                    taken[piece.at : piece.at + piece.stop - piece.start] += 1
            assert (taken == 1).all()
            used[buffer.device, buffer.tier] += buffer.nbytes
    for place, wanted in zip(PLACES[:nodes], placed, strict=True):
        assert abs(used[place] - wanted) < 4
    # DRAM never gets more than its part.
    assert used[PLACES[0]] <= placed[0] or nodes == 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 400), st.integers(0, 400))
def test_common_pieces_cut_all_tensors_alike(counts, first, second):
    total = sum(counts)
    spreads = [
        spread(counts, [4 * min(total, share), 4 * (total - min(total, share))], name)
        for name, share in (("a", first), ("b", second))
    ]
    sizes = []
    for views in common_pieces(0, total, spreads):
        assert len(views) == 2
        assert bind_size(views[0].shape[0], {}) == bind_size(views[1].shape[0], {})
        sizes.append(bind_size(views[0].shape[0], {}))
    assert sum(sizes) == total
