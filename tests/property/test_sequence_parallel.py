"""Whatever the group and the length: blocks of a layout cover exactly the pairs that a mask leaves, each once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import CONTIGUOUS, MIRRORED, STRIPED
from controller.collectives.group import Group

LAYOUTS = {"contiguous": CONTIGUOUS, "striped": STRIPED, "mirrored": MIRRORED}


@pytest.mark.parametrize("name", LAYOUTS)
@given(ranks=st.integers(1, 9), part=st.integers(1, 5), causal=st.booleans())
def test_blocks_cover_every_visible_pair_once(name, ranks, part, causal):
    layout = LAYOUTS[name]
    group = Group(tuple(f"gpu{rank}" for rank in range(ranks)), ("hbm",) * ranks)
    call = AttentionCall(group, layout.parts * part * ranks, 1, 1, 1, causal=causal)
    seen = np.zeros((call.tokens, call.tokens), np.int64)
    for asking in range(ranks):
        for asked in range(ranks):
            block = layout.block(call, asking, asked)
            if block is None:
                continue
            rows = layout.positions(call, asking)[slice(*block.queries)]
            columns = layout.positions(call, asked)[slice(*block.keys)]
            assert len(rows) and len(columns)
            visible = np.ones((len(rows), len(columns)), np.int64)
            if block.causal:
                visible = np.tri(len(rows), len(columns), block.offset, np.int64)
            assert visible.any(), "an empty block is none"
            seen[np.ix_(rows, columns)] += visible
    wanted = np.tri(call.tokens, dtype=np.int64) if causal else np.ones_like(seen)
    assert np.array_equal(seen, wanted)
