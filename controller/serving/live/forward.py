"""The plan of one iteration with values: rows of many requests through all layers, over a pool in pages.

Rows lie one after the other, those that decode first; linear layers and norms see one tensor of all rows, attention
each request its own pages. Only the last row of a prompt, and rows that decode, reach the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.models.ranks import Ranks
from controller.models.shape import ModelShape
from controller.models.sharded import Sharded
from controller.models.sharding import Sharding
from controller.models.weights import Weights
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script, Source, Value
from controller.plan.value import Place
from controller.program.run import Array, Run
from controller.program.waits import Completion
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


class ValuesRun(Run, Protocol):
    """An executor that holds values and is driven from outside."""

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Lets time pass until at least one of the tickets has ended."""

    def read(self, view: View) -> Array:
        """The values of a view."""

    def watch(self, devices: Sequence[str]) -> None:
        """Cares for the nodes of these devices alone from now on: others may be dead."""


@dataclass(frozen=True, slots=True)
class RequestRows:
    """Rows of one request in an iteration.

    Attributes:
        ids: tokens that are computed.
        tokens: of the request that are cached afterwards, these included.
        pages: that hold them.
        gives: a token comes of the last row.
    """

    ids: tuple[int, ...]
    tokens: int
    pages: tuple[int, ...]
    gives: bool


class LiveForward:
    """Weights, KV pool and operands of one instance, and the plans of its iterations.

    Attributes:
        sharding: the weights over the ranks.
        pools: of every rank (p, layers, 2, g, 16, d).
        page_bytes: of a page on one rank [bytes].
    """

    def __init__(
        self, topology: Topology, shape: ModelShape, devices: tuple[str, ...], dtype: str, pages: int, name: str
    ) -> None:
        self.shape, self.devices, self.dtype, self.name = shape, devices, dtype, name
        self.sharding = Sharding(shape, devices, dtype)
        self._software, self._item = software_of(topology, devices, HOPS), ITEM_BYTES[dtype]
        heads = [stop - start for start, stop in self.sharding.kv]
        self._width = [each * (shape.heads // shape.kv_heads) * shape.head_dim for each in heads]
        self.pools = [
            Buffer(device, "hbm", f"{name}.pool", dtype, (pages, shape.layers, 2, each, BLOCK_TOKENS, shape.head_dim))
            for device, each in zip(devices, heads, strict=True)
        ]
        self.page_bytes = [pool.nbytes // pages for pool in self.pools]
        self._scratch = Scratch(f"{name}.scratch")
        self._operands: dict[str, list[Buffer]] = {}

    @property
    def hbm_bytes(self) -> list[int]:
        """What weights and pool take on each rank [bytes]."""
        return [self.sharding.weight_bytes(rank) + pool.nbytes for rank, pool in enumerate(self.pools)]

    def place(self, run: Run, weights: Weights) -> None:
        """Allocates weights and pool."""
        self.sharding.place(run, weights)
        for pool in self.pools:
            run.place(pool, written=True)

    def compute(self, run: ValuesRun, requests: Sequence[RequestRows]) -> tuple[list[int], float]:
        """Runs an iteration.

        Returns:
            A token of every request that gives one, in their order, and the time on the declared devices [s].
        """
        tokens, gives = sum(len(each.ids) for each in requests), [each for each in requests if each.gives]
        most = max(len(each.pages) for each in requests)
        lasts = np.cumsum([len(each.ids) for each in requests]) - 1
        table = np.zeros((len(requests), most), np.int64)
        for line, each in zip(table, requests, strict=True):
            line[: len(each.pages)] = each.pages
        contents = {
            "ids": np.array([token for each in requests for token in each.ids], np.int64),
            "positions": np.concatenate([np.arange(each.tokens - len(each.ids), each.tokens) for each in requests]),
            "table": table.reshape(-1),
            "picks": np.array([last for last, each in zip(lasts, requests, strict=True) if each.gives], np.int64),
            "next": np.zeros(len(gives), np.int64),
        }
        views = {name: self._written(run, name, content) for name, content in contents.items()}
        plan = self._plan(requests, tokens, views, (len(requests), most))
        self._scratch.place(run)
        begun_at = run.now
        (done,) = run.advance([run.submit(plan).number])
        chosen = run.read(views["next"][0]).tolist() if gives else []
        return chosen, done.end_at - begun_at

    def _written(self, run: Run, name: str, content: Array) -> list[View]:
        """The first elements of a buffer on every rank, which holds `content` now; a larger one where it is short."""
        buffers = self._operands.get(name, [])
        if not buffers or buffers[0].shape[0] < len(content):
            for buffer in buffers:
                run.release(buffer)
            size = 1 << max(6, (len(content) - 1).bit_length())
            buffers = [Buffer(device, "hbm", f"{self.name}.{name}{size}", "int64", (size,)) for device in self.devices]
            for buffer in buffers:
                run.place(buffer, written=True)
            self._operands[name] = buffers
        whole = np.zeros(buffers[0].shape[0], np.int64)
        whole[: len(content)] = content
        for buffer in buffers:
            run.write(buffer, whole)
        return [View(buffer, 0, (len(content),)) for buffer in buffers]

    def _plan(
        self, requests: Sequence[RequestRows], tokens: int, views: dict[str, list[View]], lines: tuple[int, int]
    ) -> Plan:
        shape, s = self.shape, Script(f"{self.name} iteration", self._scratch)
        sent = all_reduced_bytes(tokens * shape.hidden * self._item, len(self.devices))
        model = Sharded(self.sharding, fastest(self._software, sent))
        positions = Ranks(views["positions"])
        tables = [View(view.buffer, 0, lines) for view in views["table"]]
        x: Sequence[Source] = model.embed(s, views["ids"], positions)
        for layer in range(shape.layers):
            queries, keys = model.queries(s, layer, x, positions), model.keys(s, layer, positions)
            attended = [
                self._attend(s, rank, layer, queries[rank], keys[rank], tables[rank], requests) for rank in model.ranks
            ]
            x = model.finish(s, layer, x, attended)
        if views["picks"][0].shape[0]:
            made = [(self.dtype, (views["picks"][0].shape[0], shape.hidden))]
            picked = [s.op("gather", each, picks, makes=made) for each, picks in zip(x, views["picks"], strict=True)]
            model.head(s, picked, None, views["next"][0])
        else:
            for each in x:
                assert isinstance(each, Value), "layers make values"
                s.drop(each)
        return s.plan()

    def _attend(
        self, s: Script, rank: int, layer: int, query: Value, pair: tuple[Value, Value], table: View,
        requests: Sequence[RequestRows],
    ) -> Value:  # fmt: skip
        """Writes keys and values to their pages, then attends: one launch for all that decode, one for each prompt."""
        rows, tokens = tuple(len(each.ids) for each in requests), tuple(each.tokens for each in requests)
        pool = self.pools[rank].view()
        s.op("paged_write", *pair, table, out=pool, rows=rows, tokens=tokens, layer=layer)
        decodes = next((index for index, own in enumerate(rows) if own > 1), len(rows))
        groups = [(0, decodes)] if decodes else []
        groups += [(index, index + 1) for index in range(decodes, len(rows))]
        out = s.empty(Place(self.devices[rank], "hbm"), self.dtype, (sum(rows), self._width[rank]))
        line_bytes = table.shape[1] * ITEM_BYTES["int64"]
        for first, stop in groups:
            begin, end = sum(rows[:first]), sum(rows[:stop])
            s.op(
                "paged_attention", query.rows(begin, end), pool,
                View(table.buffer, first * line_bytes, (stop - first, table.shape[1])), out=out.rows(begin, end),
                rows=rows[first:stop], tokens=tokens[first:stop], layer=layer,
                scale=self.shape.attention_scale, window=self.shape.window(layer),
            )  # fmt: skip
        return out
