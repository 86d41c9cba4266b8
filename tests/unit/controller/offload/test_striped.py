"""Flat tensors in pieces: nothing lost, nothing twice, shares to the element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.offload.striped import Striped, common_pieces, elements, even_stripes, striped_group
from controller.plan.ops import Buffer
from controller.plan.size import bind_size
from controller.plan.value import Place

PLACES = (Place("cpu", "dram"), Place("aic0", "cxl"), Place("aic1", "cxl"))


def striped(counts: list[int], placed: list[int], name: str = "g") -> Striped:
    return striped_group(name, [("part", counts)], "fp32", PLACES[: len(placed)], placed)[0]


def test_a_group_in_one_node_is_one_piece():
    made = striped([10, 5, 7], [88, 0, 0])
    assert len(made.pieces) == len(made.buffers) == 1
    assert made.buffers[0].shape == (22,) and made.buffers[0].device == "cpu"


def test_every_tensor_has_its_share_on_every_node():
    made = striped([40, 20], [4 * 30, 4 * 15, 4 * 15])
    assert [(piece.start, piece.stop, piece.buffer.device, piece.at) for piece in made.pieces] == [
        (0, 20, "cpu", 0), (20, 30, "aic0", 0), (30, 40, "aic1", 0),
        (40, 50, "cpu", 20), (50, 55, "aic0", 10), (55, 60, "aic1", 10),
    ]  # fmt: skip


def test_views_within_a_range_lie_where_their_pieces_do():
    made = striped([40, 20], [4 * 30, 4 * 30])
    found = [(first, last, view.buffer.device, view.offset_bytes) for first, last, view in made.within(10, 45)]
    assert found == [(10, 20, "cpu", 40), (20, 40, "aic0", 0), (40, 45, "cpu", 80)]


@given(st.data())
def test_shares_come_out_exactly_and_every_element_lies_once(data):
    parts = data.draw(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=4))
    total = sum(map(sum, parts))
    nodes = data.draw(st.integers(1, 3))
    cuts = sorted(data.draw(st.lists(st.integers(0, 4 * total), min_size=nodes - 1, max_size=nodes - 1)))
    placed = [stop - start for start, stop in zip([0, *cuts], [*cuts, 4 * total], strict=True)]
    made = striped_group("g", [(f"p{i}", sizes) for i, sizes in enumerate(parts)], "fp32", PLACES[:nodes], placed)
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
            used[Place(buffer.device, buffer.tier)] += buffer.nbytes
    for place, wanted in zip(PLACES[:nodes], placed, strict=True):
        assert abs(used[place] - wanted) < 4
    # DRAM never gets more than its part.
    assert used[PLACES[0]] <= placed[0] or nodes == 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 400), st.integers(0, 400))
def test_common_pieces_cut_all_tensors_alike(counts, first, second):
    total = sum(counts)
    tensors = [
        striped(counts, [4 * min(total, share), 4 * (total - min(total, share))], name)
        for name, share in (("a", first), ("b", second))
    ]
    sizes = []
    for views in common_pieces(0, total, tensors):
        assert len(views) == 2
        assert bind_size(views[0].shape[0], {}) == bind_size(views[1].shape[0], {})
        sizes.append(bind_size(views[0].shape[0], {}))
    assert sum(sizes) == total


@pytest.mark.parametrize("count", [1, 7, 12, 13, 1000])
def test_even_stripes_cover_a_tensor_once(count: int):
    places = [Place(f"ssd{number}", "flash") for number in range(5)]
    tensor, whole, placed = even_stripes("t", "fp32", count, places), np.arange(count, dtype=np.float32), {}

    class Run:
        def place(self, buffer, content, *, written):
            placed[buffer.device] = content()

    tensor.place(Run(), whole)
    np.testing.assert_array_equal(np.concatenate([placed[view.buffer.device] for view in tensor.views]), whole)
    sizes = [buffer.shape[0] for buffer in tensor.buffers]
    assert max(sizes) - min(sizes) <= 1 and len(sizes) == min(5, count) and tensor.nbytes == 4 * count


def test_elements_of_a_tensor_of_any_shape_lie_as_in_memory():
    view = elements(Buffer("cpu", "dram", "b", "fp16", (3, 5)), 7, 4)
    assert (view.offset_bytes, view.shape) == (14, (4,))
