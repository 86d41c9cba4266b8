"""`DistributedDataParallel` with the buckets and the overlap of PyTorch's reducer in C++, which refuses fake tensors.

Buckets: in the first step parameters in reverse order, the first bucket of 1 MiB and the others of `bucket_cap_mb`;
after it they are made anew in the order in which gradients were ready, as the reducer rebuilds them. A bucket is
reduced when its last gradient is there, and its mean is copied back when all have come.
Not modelled: communication hooks, `find_unused_parameters`.
Source: PyTorch, torch/csrc/distributed/c10d/reducer.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

FIRST_BUCKET_BYTES = 1 << 20


def buckets_of(parameters: list[Any], cap_bytes: int) -> list[list[Any]]:
    """Parameters by bucket, in order; one type and device a bucket."""
    made: list[list[Any]] = [[]]
    size, limit = 0, FIRST_BUCKET_BYTES
    for parameter in parameters:
        made[-1].append(parameter)
        size += parameter.numel() * parameter.element_size()
        if size >= limit:
            made.append([])
            size, limit = 0, cap_bytes
    return [bucket for bucket in made if bucket]


class DistributedDataParallel(nn.Module):
    """Replicates a module; its gradients are averaged while the backward goes on."""

    def __init__(
        self, module: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0,
        broadcast_buffers: bool = True, init_sync: bool = True, process_group: Any = None,
        bucket_cap_mb: float | None = None, **_: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.module = module
        self.process_group: Any = process_group or dist.group.WORLD
        self.require_backward_grad_sync = True
        self._cap_bytes = int((25 if bucket_cap_mb is None else bucket_cap_mb) * (1 << 20))
        self._parameters_in_order = [each for each in module.parameters() if each.requires_grad]
        self._ready: list[Any] = []
        self._is_rebuilt = False
        self._lay(self._parameters_in_order[::-1])
        for parameter in self._parameters_in_order:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's forward."""
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients are summed up on each rank alone."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def _lay(self, order: list[Any]) -> None:
        self._buckets = buckets_of(order, self._cap_bytes)
        self._bucket_of = {id(each): number for number, bucket in enumerate(self._buckets) for each in bucket}
        self._begin()

    def _begin(self) -> None:
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sums: list[tuple[int, Any, Any]] = []
        self._is_waiting = False

    def _arrived(self, parameter: Any) -> None:
        if not self.require_backward_grad_sync:
            return
        if not self._is_waiting:
            self._is_waiting = True
            engine: Any = torch.autograd.Variable
            engine._execution_engine.queue_callback(self._finish)
        if not self._is_rebuilt:
            self._ready.append(parameter)
        number = self._bucket_of[id(parameter)]
        self._missing[number] -= 1
        if not self._missing[number]:
            flat = torch.cat([each.grad.reshape(-1) for each in self._buckets[number]])
            flat.div_(self.process_group.size())
            self._sums.append((number, flat, dist.all_reduce(flat, group=self.process_group, async_op=True)))

    def _finish(self) -> None:
        for number, flat, work in self._sums:
            work.wait()
            offset = 0
            for each in self._buckets[number]:
                count = each.grad.numel()
                each.grad.copy_(flat[offset : offset + count].view_as(each.grad))
                offset += count
        if not self._is_rebuilt and len(self._ready) == len(self._parameters_in_order):
            self._is_rebuilt = True
            self._lay(self._ready)
        self._begin()


def install_data_parallel() -> None:
    """Puts the class where programs look for DDP."""
    parallel: Any = nn.parallel
    parallel.DistributedDataParallel = parallel.distributed.DistributedDataParallel = DistributedDataParallel
