"""One call of attention over a prompt whose tokens lie on several ranks, and where its buffers lie.

On every rank: ``q`` (t, b, h, d), ``kv`` (2, t, b, g, d) and ``out`` (t, b, h, d) for the caller; ``lse`` (t, b, h) in
fp32, and with half types ``sum``, the result so far in fp32, for the scheme. K and V are one buffer because they travel
together. The inputs are left as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.errors import check_limit
from controller.plan.ops import Buffer, View
from node.hardware.operation import ITEM_BYTES

DTYPES = ("fp32", "bf16", "fp16")
"""Element types that attention runs in."""
MOST = {"tokens": 1 << 30, "heads": 1 << 16, "KV heads": 1 << 16, "columns of a head": 1 << 16, "sequences": 1 << 20}
"""Largest sizes of a call; what fits no device ends sooner, as a result."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One call.

    Attributes:
        group: the ranks.
        tokens: of the whole sequence.
        heads: query heads.
        kv_heads: heads of K and V; query head ``i`` reads number ``i // (heads / kv_heads)``.
        head_dim: columns of a head.
        batch: sequences side by side.
        causal: a token sees itself and what came before.
        dtype: element type of q, K, V and the result.
        connection_bytes_per_s: most that one rank can send to one other, whatever their ports and links could carry;
            0 for no such limit [bytes/s].
    """

    group: Group
    tokens: int
    heads: int
    kv_heads: int
    head_dim: int
    batch: int = 1
    causal: bool = True
    dtype: str = "bf16"
    connection_bytes_per_s: float = 0.0

    def __post_init__(self) -> None:
        sizes = {
            "tokens": self.tokens, "heads": self.heads, "KV heads": self.kv_heads,
            "columns of a head": self.head_dim, "sequences": self.batch,
        }  # fmt: skip
        for what, value in sizes.items():
            if value < 1:
                raise BadCall(f"attention over {value} {what}; at least 1 is needed")
            q_bytes = self.tokens * self.heads * self.head_dim * self.batch * ITEM_BYTES.get(self.dtype, 4)
            cost = f"the queries alone take {q_bytes / 2**40:,.3g} TiB"
            check_limit(BadCall, f"the number of {what}", value, MOST[what], cost, "write a smaller number")
        if self.heads % self.kv_heads:
            raise BadCall(
                f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly; use a number of KV heads that "
                f"divides {self.heads}"
            )
        if self.dtype not in DTYPES:
            raise BadCall(f"attention does not run in {self.dtype!r}; it does in {', '.join(DTYPES)}")
        if not 0.0 <= self.connection_bytes_per_s < float("inf"):
            raise BadCall(
                f"a connection of {self.connection_bytes_per_s} bytes/s; write a rate above 0, or 0 for no limit"
            )

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.group.world_size

    @property
    def rank_tokens(self) -> int:
        """Tokens of one rank."""
        return self.tokens // self.world_size

    @property
    def scale(self) -> float:
        """What scores are multiplied with."""
        return float(self.head_dim**-0.5)

    @property
    def accumulates(self) -> bool:
        """Whether the result so far is kept apart, in fp32, because the result itself is of a half type."""
        return self.dtype != "fp32"

    def divided_by(self, parts: int, scheme: str) -> None:
        """Refuses a sequence that `parts` equal parts do not make.

        Raises:
            BadCall: names the nearest lengths that would do.
        """
        rest = self.tokens % parts
        if rest:
            fewer, more = self.tokens - rest, self.tokens - rest + parts
            raise BadCall(
                f"{scheme} over {self.world_size} ranks cuts the sequence into {parts} equal parts, and {self.tokens} "
                f"tokens are no multiple of {parts}; use {f'{fewer} or ' if fewer else ''}{more} tokens (pad the "
                f"prompt)"
            )

    def buffer(self, rank: int, name: str, shape: tuple[int, ...], dtype: str = "") -> Buffer:
        """A buffer on the tier of `rank`; of the call's type unless told otherwise."""
        return Buffer(self.group.devices[rank], self.group.tiers[rank], name, dtype or self.dtype, shape)

    def q(self, rank: int, name: str = "q") -> Buffer:
        """Queries, or something of their shape (t, b, h, d)."""
        return self.buffer(rank, name, self._wide)

    def kv(self, rank: int, name: str = "kv") -> Buffer:
        """Keys and then values (2, t, b, g, d)."""
        return self.buffer(rank, name, (2, self.rank_tokens, self.batch, self.kv_heads, self.head_dim))

    def lse(self, rank: int, name: str = "lse") -> Buffer:
        """Logarithms of sums of exponentials (t, b, h)."""
        return self.buffer(rank, name, self._wide[:3], "fp32")

    def out(self, rank: int) -> Buffer:
        """The result (t, b, h, d)."""
        return self.q(rank, "out")

    def total(self, rank: int) -> Buffer:
        """The result so far (t, b, h, d): in fp32, apart from `out` unless that is fp32 itself."""
        return self.buffer(rank, "sum", self._wide, "fp32") if self.accumulates else self.out(rank)

    @property
    def _wide(self) -> tuple[int, int, int, int]:
        return self.rank_tokens, self.batch, self.heads, self.head_dim


def keys_of(kv: Buffer, start: int, stop: int) -> View:
    """Keys of tokens ``start:stop`` (n, b, g, d)."""
    return _half(kv, 0, start, stop)


def values_of(kv: Buffer, start: int, stop: int) -> View:
    """Values of tokens ``start:stop`` (n, b, g, d)."""
    return _half(kv, 1, start, stop)


def _half(kv: Buffer, which: int, start: int, stop: int) -> View:
    _, tokens, *rest = kv.shape
    token_bytes = ITEM_BYTES[kv.dtype]
    for extent in rest:
        token_bytes *= extent
    return View(kv, (which * tokens + start) * token_bytes, (stop - start, *rest))
