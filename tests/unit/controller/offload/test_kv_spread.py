"""Every token of every sequence is on exactly one drive, wherever the window starts."""

from hypothesis import given
from hypothesis import strategies as st

from controller.offload.kv_spread import GROUP_TOKENS, KvSpread
from controller.plan.ranges import even_ranges


def test_even_ranges_give_the_rest_to_the_first() -> None:
    assert even_ranges(40, 3) == ((0, 14), (14, 27), (27, 40))
    assert even_ranges(2, 4) == ((0, 1), (1, 2), (2, 2), (2, 2))


def test_heads_are_spread_when_there_are_enough() -> None:
    spread = KvSpread(heads=40, kv_heads=40, drives=2, prompt_tokens=1024)
    assert not spread.by_tokens
    assert [share.heads for share in spread.shares] == [(0, 20), (20, 40)]
    assert spread.owners(5) == (0, 1)


def test_query_heads_follow_their_kv_head() -> None:
    spread = KvSpread(heads=64, kv_heads=8, drives=3, prompt_tokens=7)
    assert [share.heads for share in spread.shares] == [(0, 24), (24, 48), (48, 64)]


@given(
    drives=st.integers(1, 5),
    kv_heads=st.integers(1, 6),
    prompt=st.integers(0, 70),
    generated=st.integers(0, 200),
    window=st.integers(0, 150),
)
def test_attended_tokens_are_those_of_the_window(
    drives: int, kv_heads: int, prompt: int, generated: int, window: int
) -> None:
    spread = KvSpread(kv_heads * 2, kv_heads, drives, prompt)
    total = prompt + generated + 1
    expected = list(range(max(total - window, 0) if window else 0, total))
    seen: list[int] = []
    for drive in range(drives):
        share, holding = spread.shares[drive], spread.holding(drive, generated, window)
        assert holding.flushed <= spread.generated_capacity(generated + 1)
        groups = [group for group in range(generated // GROUP_TOKENS) if drive in spread.owners(group * GROUP_TOKENS)]
        flash = [prompt + group * GROUP_TOKENS + slot for group in groups for slot in range(GROUP_TOKENS)]
        assert len(flash) == holding.flushed
        base = prompt + generated // GROUP_TOKENS * GROUP_TOKENS
        mine = (
            list(range(*share.prompt))[holding.starts[0] :]
            + flash[holding.starts[1] :]
            + [base + slot for slot in range(holding.tail)][holding.starts[2] :]
        )
        if spread.by_tokens:
            seen += mine
        else:
            assert mine == expected
    if spread.by_tokens:
        assert sorted(seen) == expected
