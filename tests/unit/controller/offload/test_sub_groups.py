"""How a model is cut into sub-groups."""

import pytest

from controller.models.catalog import load_model
from controller.models.training import parts
from controller.offload.sub_groups import SUB_GROUP_ELEMENTS, sub_groups
from controller.plan.ops import Buffer
from controller.plan.script import Script

MODEL = parts(load_model("gpt-13b"))


def test_neighbours_are_joined_in_the_order_of_the_backward_pass():
    groups = sub_groups(MODEL)
    assert [index for group in groups for index in group.offsets] == list(reversed(range(len(MODEL))))
    assert list(groups[0].offsets) == [41, 40, 39]  # head and two blocks of 315 M
    assert all(group.elements <= SUB_GROUP_ELEMENTS for group in groups)
    assert sum(group.elements for group in groups) == sum(part.layout.elements for part in MODEL)


def test_offsets_follow_one_another():
    for group in sub_groups(MODEL):
        place = 0
        for part, offset in group.offsets.items():
            assert offset == place
            place += MODEL[part].layout.elements
        assert place == group.elements


def test_a_block_beyond_the_limit_is_a_sub_group_of_its_own():
    large = parts(load_model("gpt-175b"))
    groups = sub_groups(large)
    assert list(groups[0].offsets) == [97] and all(len(group.offsets) == 1 for group in groups)
    assert max(group.elements for group in groups) == large[1].layout.elements > SUB_GROUP_ELEMENTS


@pytest.mark.parametrize("limit", [1, 10**9, 10**12])
def test_every_part_is_in_one_sub_group(limit: int):
    groups = sub_groups(MODEL, limit)
    assert sorted(index for group in groups for index in group.offsets) == list(range(len(MODEL)))


def test_views_of_states_and_parts():
    group = sub_groups(MODEL)[0]
    flat = Buffer("cpu", "dram", "states", "fp32", (3 * group.elements,))
    half = Buffer("cpu", "dram", "new", "fp16", (group.elements,))
    s = Script("adam")
    group.adam(s, flat, half, half)
    step = s.plan().ops[0]
    assert [view.offset_bytes for view in step.outputs] == [0, 4 * group.elements, 8 * group.elements, 0]
    assert [view.buffer.name for view in step.inputs] == ["states", "new", "states", "states"]
    view = group.of(39, half)
    assert view.offset_bytes == 2 * (MODEL[41].layout.elements + MODEL[40].layout.elements)
    assert view.shape == (MODEL[39].layout.elements,)
