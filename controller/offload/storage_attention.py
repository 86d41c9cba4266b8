"""Decode attention on a drive, as a part that a system chooses: dense here, sparse in ``sparf.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from controller.models.block import Block
from controller.models.scenario import Scenario
from controller.offload.drive_cache import DriveCache
from controller.offload.gpu_model import GpuModel
from controller.offload.kv_spread import KvSpread
from controller.plan.ops import Buffer
from controller.plan.script import Script, Value
from controller.plan.size import Size, symbol
from controller.program.run import Program, Run

Attended = tuple[Value, Value | None]
"""Attention (rows, h, d) and, where it is dense, its log-sum-exp (rows, h)."""
Caches = Sequence[Sequence[DriveCache]]
"""By layer and drive."""


class StorageAttention(Protocol):
    """What a drive does with a query, and what it keeps for that."""

    @property
    def buffers(self) -> Iterable[Buffer]:
        """What lives for the whole generation beside keys and values."""

    def pushed(self, s: Script, layer: int, part: int, drive: int, by_heads: Value, row: Size) -> None:
        """A prompt's keys (part 0) or values (1), by heads on the GPU, were pushed to a drive from `row` on."""

    def attend(
        self, s: Script, block: Block, drive: int, lane: int, q: Value, new: Sequence[Value], rows: tuple[int, int],
        number: int, starts: Sequence[Size],
    ) -> Attended:  # fmt: skip
        """Attention of the new token of some sequences, which the drive has appended where it owns it."""

    def flushed(self, s: Script, layer: int, drive: int, rows: tuple[int, int], stored: Size) -> None:
        """A full group was written to flash, after `stored` generated tokens."""

    def bindings(self, bindings: dict[str, int]) -> dict[str, int]:
        """Numbers for the open sizes of a step, with its own."""

    def announce(self, run: Run) -> Program:
        """Reports what was declared."""

    def measure(self, run: Run) -> Program:
        """Reports what the values of a live run showed."""


class Dense:
    """Attention over every token."""

    def __init__(self, scenario: Scenario, spread: KvSpread, caches: Caches, model: GpuModel) -> None:
        self._scenario, self._spread, self._caches = scenario, spread, caches

    @property
    def buffers(self) -> Iterable[Buffer]:
        return ()

    def pushed(self, s: Script, layer: int, part: int, drive: int, by_heads: Value, row: Size) -> None:
        pass

    def attend(
        self, s: Script, block: Block, drive: int, lane: int, q: Value, new: Sequence[Value], rows: tuple[int, int],
        number: int, starts: Sequence[Size],
    ) -> Attended:  # fmt: skip
        share = self._spread.shares[drive]
        tokens: list[Size] = [symbol(f"flushed{number}"), symbol(f"tail{number}")]
        if share.prompt_tokens:
            tokens.insert(0, self._scenario.effective_tokens(share.prompt_tokens))
        return block.decode_attention(s, q, self._caches[block.layer][drive].segments(rows), tokens, starts)

    def flushed(self, s: Script, layer: int, drive: int, rows: tuple[int, int], stored: Size) -> None:
        pass

    def bindings(self, bindings: dict[str, int]) -> dict[str, int]:
        return bindings

    def announce(self, run: Run) -> Program:
        yield from ()

    def measure(self, run: Run) -> Program:
        yield from ()
