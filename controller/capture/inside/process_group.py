"""The process group under the name nccl: logs collectives and moves nothing."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from controller.capture.inside.log import Log
from controller.capture.inside.signatures import dtype_of, tensors_in
from controller.capture.live.named_group import NamedGroup, held

_distributed: Any = dist
_Work: Any = _distributed._Work


class LoggedWork(_Work):  # type: ignore[misc]
    """A collective that was asked for; whoever waits for it makes a stream wait."""

    def __init__(self, log: Log, shim: Any, number: int, result: Any) -> None:
        super().__init__()
        self._log, self._shim, self._number, self._result = log, shim, number, result

    def wait(self, timeout: Any = None) -> bool:
        """Lets the current stream wait."""
        self._log.add("join", self._number, self._shim.current_stream(self._shim.current_device()))
        return True

    def synchronize(self) -> None:
        """As `wait`."""
        self.wait()

    def block_current_stream(self) -> None:
        """As `wait`."""
        self.wait()

    def is_completed(self) -> bool:
        """True: nothing is under way while a program is captured."""
        return True

    def is_success(self) -> bool:
        """True, as `is_completed`."""
        return True

    def get_future(self) -> Any:
        """A future that holds the result."""
        return held(self._result)

    def result(self) -> Any:
        """The tensors of the result."""
        return self._result


class LoggedGroup(NamedGroup):
    """A communicator of the captured program."""

    log: Log
    shim: Any
    shadows: Any
    work_count = 0

    def __init__(self, rank: int, size: int, key: str) -> None:
        super().__init__(rank, size, key)

    def _set_group_desc(self, text: str) -> None:
        super()._set_group_desc(text)
        self.log.descriptions[self._name] = text

    @property
    def supports_splitting(self) -> bool:
        return False

    def getBackendName(self) -> str:
        return "nccl"

    def _ask(self, kind: str, outs: Any, ins: Any, opts: Any = None, **facts: Any) -> LoggedWork:
        given, got = tensors_in(ins), tensors_in(outs)
        some = (given or got or [None])[0]
        cls = type(self)
        cls.work_count += 1
        number = cls.work_count
        dtype = "uint8" if some is None else dtype_of(some.dtype)
        # Collectives that are not asynchronous run on the stream of their caller; NCCL's own stream is -1 - group.
        here = self.shim.current_device()
        is_asynchronous = bool(getattr(opts, "asyncOp", True))
        self.log.add(
            "collective", self._name, kind, dtype, _bytes(given), _bytes(got), number, self.shim.current_stream(here),
            is_asynchronous, facts, self.log.line(),
        )  # fmt: skip
        self._carry(kind, given, got, opts)
        return LoggedWork(self.log, self.shim, number, outs)

    def _carry(self, kind: str, given: list[Any], got: list[Any], opts: Any) -> None:
        """Values that all ranks have alike, through a collective."""
        if kind == "all_reduce" and "SUM" in str(getattr(opts, "reduceOp", "SUM")):
            for each in got:
                known = self.shadows.of(each)
                if known is not None:
                    known.mul_(self.size())
        elif kind in ("all_to_all", "all_gather") and len(given) == len(got) == 1:
            got[0].__dict__.pop("_shadow", None)
            self.shadows.exchanged(kind, "", self.size(), given[0], got[0])

    def allreduce(self, tensors: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_reduce", tensors, tensors, opts)

    def allreduce_coalesced(self, tensors: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_reduce", tensors, tensors, opts)

    def broadcast(self, tensors: Any, opts: Any = None) -> LoggedWork:
        return self._ask("broadcast", tensors, tensors, opts, root=getattr(opts, "rootRank", 0))

    def reduce(self, tensors: Any, opts: Any = None) -> LoggedWork:
        return self._ask("reduce", tensors, tensors, opts, root=getattr(opts, "rootRank", 0))

    def allgather(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_gather", outs, ins, opts)

    def all_gather_single(self, out: Any, given: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_gather", [out], [given], opts)

    def all_gather_single_coalesced(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_gather", outs, ins, opts)

    def reduce_scatter(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("reduce_scatter", outs, ins, opts)

    def reduce_scatter_single(self, out: Any, given: Any, opts: Any = None) -> LoggedWork:
        return self._ask("reduce_scatter", [out], [given], opts)

    def reduce_scatter_single_coalesced(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("reduce_scatter", outs, ins, opts)

    def all_to_all_single(self, out: Any, given: Any, to: Any = (), of: Any = (), opts: Any = None) -> LoggedWork:
        return self._ask("all_to_all", [out], [given], opts)

    def alltoall(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("all_to_all", outs, ins, opts)

    def gather(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("gather", outs, ins, opts, root=getattr(opts, "rootRank", 0))

    def scatter(self, outs: Any, ins: Any, opts: Any = None) -> LoggedWork:
        return self._ask("scatter", outs, ins, opts, root=getattr(opts, "rootRank", 0))

    def barrier(self, opts: Any = None) -> LoggedWork:
        return self._ask("barrier", [], [], opts)

    def send(self, tensors: Any, to: int, tag: int) -> LoggedWork:
        return self._ask("send", [], tensors, None, peer=to)

    def recv(self, tensors: Any, source: int, tag: int) -> LoggedWork:
        return self._ask("recv", tensors, [], None, peer=source)

    _allgather_base = all_gather_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    _reduce_scatter_base = reduce_scatter_single
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single

    def _start_coalescing(self, device: Any) -> None:
        self.log.add("coalesce", self._name)

    def _end_coalescing(self, device: Any) -> LoggedWork:
        cls = type(self)
        cls.work_count += 1
        self.log.add("coalesced", self._name, cls.work_count)
        return LoggedWork(self.log, self.shim, cls.work_count, [])

    def _set_sequence_number_for_group(self) -> None:
        return

    def _get_sequence_number_for_group(self) -> int:
        return 0

    def abort(self) -> None:
        return

    def shutdown(self) -> None:
        return


def _bytes(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
