"""The process group of the backend: collectives on real tensors of the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from controller.capture.live.exchange import Bytes, NodeExchange
from controller.capture.live.named_group import NamedGroup, held

_distributed: Any = dist
_Work: Any = _distributed._Work
_Op: Any = dist.ReduceOp


class FinishedWork(_Work):  # type: ignore[misc]
    """A collective that has happened, or a receipt that happens when somebody waits for it."""

    def __init__(self, result: Any, act: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._result, self._act = result, act

    def wait(self, timeout: Any = None) -> bool:
        """Lets it happen, once."""
        act, self._act = self._act, None
        if act is not None:
            act()
        return True

    def is_completed(self) -> bool:
        """Whether it has happened."""
        return self._act is None

    def is_success(self) -> bool:
        """As `is_completed`."""
        return self._act is None

    def get_future(self) -> Any:
        """A future that holds the result."""
        self.wait()
        return held(self._result)

    def result(self) -> Any:
        """The tensors of the result."""
        return self._result


def _bytes_of(tensor: Any) -> Bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8))


def _tensor_of(data: Bytes, like: Any) -> Any:
    return torch.from_numpy(np.array(data, copy=True)).view(like.dtype).view(like.shape)


REDUCTIONS: dict[str, Any] = {
    "SUM": torch.add, "AVG": torch.add, "PRODUCT": torch.mul, "MAX": torch.maximum, "MIN": torch.minimum,
    "BAND": torch.bitwise_and, "BOR": torch.bitwise_or, "BXOR": torch.bitwise_xor,
}  # fmt: skip


def _reduced(parts: list[Any], op: Any) -> Any:
    """The parts in the order of ranks, added up or otherwise."""
    name = next((name for name in REDUCTIONS if op == getattr(_Op, name)), None)
    if name is None:
        raise ValueError(f"the backend windtunnel has no reduction {op}; use SUM, AVG, PRODUCT, MAX or MIN")
    total = parts[0].clone()
    for part in parts[1:]:
        total = REDUCTIONS[name](total, part)
    return total / len(parts) if name == "AVG" else total


class NodeGroup(NamedGroup):
    """A communicator over nodes."""

    def __init__(self, rank: int, size: int, exchange: NodeExchange) -> None:
        super().__init__(rank, size)
        self._exchange = exchange
        self._calls = 0
        self._messages: Counter[tuple[str, int]] = Counter()

    def getBackendName(self) -> str:
        return "windtunnel"

    def _all(self, tensor: Any, what: str, shapes: list[Any] | None = None) -> list[Any]:
        """What every rank gives, by rank."""
        self._calls += 1
        here, size = self.rank(), self.size()
        self._exchange.give(f"{self._calls}.{here}", _bytes_of(tensor), size - 1)
        call = f"{what} {self._calls}"
        found = []
        for rank in range(size):
            like = tensor if shapes is None else shapes[rank]
            if rank == here:
                found.append(tensor.detach().clone())
                continue
            nbytes = like.numel() * like.element_size()
            found.append(_tensor_of(self._exchange.get(f"{self._calls}.{rank}", rank, nbytes, call), like))
        return found

    def allreduce(self, tensors: Any, opts: Any = None) -> FinishedWork:
        for tensor in tensors:
            tensor.copy_(_reduced(self._all(tensor, "all_reduce"), opts.reduceOp if opts else _Op.SUM))
        return FinishedWork(tensors)

    def broadcast(self, tensors: Any, opts: Any = None) -> FinishedWork:
        root = opts.rootRank if opts is not None else 0
        for tensor in tensors:
            self._calls += 1
            key = f"{self._calls}.{root}"
            if self.rank() == root:
                self._exchange.give(key, _bytes_of(tensor), self.size() - 1)
            else:
                nbytes = tensor.numel() * tensor.element_size()
                tensor.copy_(_tensor_of(self._exchange.get(key, root, nbytes, f"broadcast {self._calls}"), tensor))
        return FinishedWork(tensors)

    def reduce(self, tensors: Any, opts: Any = None) -> FinishedWork:
        for tensor in tensors:
            total = _reduced(self._all(tensor, "reduce"), opts.reduceOp)
            if self.rank() == opts.rootRank:
                tensor.copy_(total)
        return FinishedWork(tensors)

    def allgather(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        for out, tensor in zip(outs, ins, strict=True):
            for target, part in zip(out, self._all(tensor, "all_gather", list(out)), strict=True):
                target.copy_(part)
        return FinishedWork(outs)

    def all_gather_single(self, out: Any, given: Any, opts: Any = None) -> FinishedWork:
        parts = self._all(given, "all_gather")
        out.copy_(torch.cat([part.reshape(-1) for part in parts]).view(out.shape))
        return FinishedWork([out])

    def all_gather_single_coalesced(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        for out, given in zip(outs, ins, strict=True):
            self.all_gather_single(out, given)
        return FinishedWork(outs)

    def reduce_scatter_single(self, out: Any, given: Any, opts: Any = None) -> FinishedWork:
        total = _reduced(self._all(given, "reduce_scatter"), opts.reduceOp)
        out.copy_(total.reshape(self.size(), -1)[self.rank()].view(out.shape))
        return FinishedWork([out])

    def reduce_scatter_single_coalesced(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        for out, given in zip(outs, ins, strict=True):
            self.reduce_scatter_single(out, given, opts)
        return FinishedWork(outs)

    def reduce_scatter(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        for out, given in zip(outs, ins, strict=True):
            whole = torch.cat([part.reshape(-1) for part in given])
            total = _reduced(self._all(whole, "reduce_scatter"), opts.reduceOp)
            out.copy_(total[self.rank() * out.numel() : (self.rank() + 1) * out.numel()].view(out.shape))
        return FinishedWork(outs)

    def all_to_all_single(
        self, out: Any, given: Any, out_splits: Any = (), in_splits: Any = (), opts: Any = None
    ) -> FinishedWork:
        size, rows = self.size(), given.shape[0]
        to = list(in_splits) or [rows // size] * size
        of = list(out_splits) or [out.shape[0] // size] * size
        targets, parts = list(out.split(of)), list(given.split(to))
        self._pairwise(targets, parts)
        return FinishedWork([out])

    def alltoall(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        self._pairwise(list(outs), list(ins))
        return FinishedWork(outs)

    def _pairwise(self, targets: list[Any], parts: list[Any]) -> None:
        self._calls += 1
        here, call = self.rank(), f"all_to_all {self._calls}"
        for rank, part in enumerate(parts):
            if rank != here:
                self._exchange.give(f"{self._calls}.{here}.{rank}", _bytes_of(part), 1)
        targets[here].copy_(parts[here])
        for rank, target in enumerate(targets):
            if rank != here:
                nbytes = target.numel() * target.element_size()
                target.copy_(_tensor_of(self._exchange.get(f"{self._calls}.{rank}.{here}", rank, nbytes, call), target))

    def scatter(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        self._calls += 1
        root, here = opts.rootRank, self.rank()
        if here == root:
            for rank, part in enumerate(ins[0]):
                if rank != here:
                    self._exchange.give(f"{self._calls}.{rank}", _bytes_of(part), 1)
            outs[0].copy_(ins[0][here])
        else:
            nbytes = outs[0].numel() * outs[0].element_size()
            data = self._exchange.get(f"{self._calls}.{here}", root, nbytes, f"scatter {self._calls}")
            outs[0].copy_(_tensor_of(data, outs[0]))
        return FinishedWork(outs)

    def gather(self, outs: Any, ins: Any, opts: Any = None) -> FinishedWork:
        parts = self._all(ins[0], "gather")
        if self.rank() == opts.rootRank:
            for target, part in zip(outs[0], parts, strict=True):
                target.copy_(part)
        return FinishedWork(outs)

    def barrier(self, opts: Any = None) -> FinishedWork:
        self._all(torch.zeros(1, dtype=torch.uint8), "barrier")
        return FinishedWork([])

    def send(self, tensors: Any, to: int, tag: int) -> FinishedWork:
        self._messages["to", to] += 1
        key = f"m{self.rank()}.{to}.{self._messages['to', to]}"
        self._exchange.give(key, _bytes_of(tensors[0]), 1)
        return FinishedWork(tensors)

    def recv(self, tensors: Any, source: int, tag: int) -> FinishedWork:
        self._messages["of", source] += 1
        key = f"m{source}.{self.rank()}.{self._messages['of', source]}"
        target = tensors[0]

        def act() -> None:
            nbytes = target.numel() * target.element_size()
            data = self._exchange.get(key, source, nbytes, f"recv from rank {source}")
            # Pipelines receive into tensors that are to have gradients.
            with torch.no_grad():
                target.copy_(_tensor_of(data, target))

        return FinishedWork(tensors, act)

    allreduce_coalesced = allreduce
    _allgather_base = all_gather_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    _reduce_scatter_base = reduce_scatter_single
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single

    def _start_coalescing(self, device: Any) -> None:
        return

    def _end_coalescing(self, device: Any) -> FinishedWork:
        return FinishedWork([])

    def _set_sequence_number_for_group(self) -> None:
        return

    def _get_sequence_number_for_group(self) -> int:
        return self._calls

    def abort(self) -> None:
        return

    def shutdown(self) -> None:
        self._exchange.close()
