"""Kernel calls: checked, costed and bound to memory once, then run as often as they are commanded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from node.compute.dtypes import torch_dtype
from node.compute.kernels import run
from node.hardware.cost import KernelCost, kernel_cost
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.peak import choose_unit
from node.memory.resources import Use
from node.memory.tensors import Tensor, bytes_view, tensor_view
from node.memory.tier import StoredBuffer
from node.runtime.counters import KernelCount
from node.runtime.far_memory import FarBuffer, far_range
from node.runtime.parts import DeviceParts
from node.runtime.timekeeping import Work
from node.wire.commands import LaunchKernel, Operand

_Range = tuple[StoredBuffer | FarBuffer, int, int]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A call with everything that does not change as long as its buffers are there."""

    own: tuple[StoredBuffer, ...]
    far: tuple[FarBuffer, ...]
    work: Work
    use: Use
    count: KernelCount


class KernelCall:
    """A launch on one device."""

    issued = True

    def __init__(self, launch: LaunchKernel, device: DeviceParts) -> None:
        self._launch, self._device = launch, device
        self._bound: _Bound | None = None
        self.queue = launch.queue
        self._user = f"a kernel in flight ({launch.op})"

    def execute(self, start_at: float) -> tuple[float, bool]:
        """Runs the kernel.

        Raises:
            NodeError: operands or attributes that do not fit, or a buffer that is not there.
        """
        store = self._device.store
        while True:
            bound = self._bound or self._bind()
            if store.pin(bound.own, self._user):
                try:
                    with ExitStack() as stack:
                        if all(stack.enter_context(buffer.attachment.pinned()) for buffer in bound.far):
                            self._bound = bound
                            ended = self._device.timekeeper.run(start_at, bound.use, bound.work)
                            self._device.counters.kernel(bound.count)
                            return ended
                finally:
                    store.unpin(bound.own, self._user)
            self._bound = None  # something was freed: look the operands up again

    def _bind(self) -> _Bound:
        launch = self._launch
        entry = operation(launch.op)
        attributes = complete_attributes(entry, launch.attributes)
        inputs, outputs = self._ranges(launch.inputs), self._ranges(launch.outputs)
        input_types, output_types = _types(launch.inputs, inputs), _types(launch.outputs, outputs)
        entry.check(input_types, output_types, attributes)
        demand = entry.demand(input_types, output_types, attributes)
        places = [buffer for buffer, _, _ in (*inputs, *outputs)]
        names = [_memory_name(buffer) for buffer in places]
        far = {_memory_name(buffer): buffer.spec for buffer in places if isinstance(buffer, FarBuffer)}
        spec = self._device.config.spec
        if far:
            spec = replace(spec, tiers={**spec.tiers, **far})
        cost = kernel_cost(spec, demand, names[: len(inputs)], names[len(inputs) :], launch.queue)
        tensors_in = [_tensor(operand, place) for operand, place in zip(launch.inputs, inputs, strict=True)]
        tensors_out = [_tensor(operand, place) for operand, place in zip(launch.outputs, outputs, strict=True)]
        work: Work = partial(run, launch.op, tensors_in, tensors_out, attributes)
        if not all(buffer.tier.resident for buffer in places if isinstance(buffer, StoredBuffer)):
            work = partial(_run_held, work, inputs, outputs)
        read_bytes, write_bytes = (
            {name: size for name, size in moved.items() if name not in far}
            for moved in (cost.read_bytes, cost.write_bytes)
        )
        use = self._device.resources.kernel_use(cost.time_s, cost.latency_s, read_bytes, write_bytes)
        own = tuple(buffer for buffer in places if isinstance(buffer, StoredBuffer))
        mapped = tuple(buffer for buffer in places if isinstance(buffer, FarBuffer))
        return _Bound(own, mapped, work, use, self._count(demand, cost))

    def _ranges(self, operands: Sequence[Operand]) -> list[_Range]:
        found: list[_Range] = []
        for operand in operands:
            if operand.device and operand.device != self._device.peers.own:
                far, size_bytes = far_range(self._device.peers[operand.device], operand)
                found.append((far, operand.offset_bytes, size_bytes))
                continue
            buffer, size_bytes = self._device.store.range_of(operand.name, operand.offset_bytes, operand.shape)
            found.append((buffer, operand.offset_bytes, size_bytes))
        return found

    def _count(self, demand: Demand, cost: KernelCost) -> KernelCount:
        device_spec, tiers = self._device.config.spec, []
        for name, spec in device_spec.tiers.items():
            read, written = cost.read_bytes.get(name, 0), cost.write_bytes.get(name, 0)
            if read or written:
                busy_s = read / spec.read_bytes_per_s + written / spec.write_bytes_per_s
                tiers.append((name, read, written, busy_s))
        if demand.family == "delay":
            return KernelCount(tuple(tiers), "", 0.0, 0.0)
        return KernelCount(tuple(tiers), choose_unit(device_spec, demand.unit).name, demand.flop, cost.time_s)


def _types(operands: Sequence[Operand], ranges: Sequence[_Range]) -> list[TensorType]:
    return [TensorType(operand.shape, buffer.dtype) for operand, (buffer, _, _) in zip(operands, ranges, strict=True)]


def _memory_name(buffer: StoredBuffer | FarBuffer) -> str:
    """What the cost of a kernel calls the tier of an operand."""
    return f"{buffer.device}.{buffer.spec.name}" if isinstance(buffer, FarBuffer) else buffer.tier.spec.name


def _tensor(operand: Operand, place: _Range) -> Tensor:
    buffer = place[0]
    if isinstance(buffer, FarBuffer):
        return bytes_view(
            buffer.attachment.bytes, operand.offset_bytes, operand.shape, torch_dtype(buffer.dtype),
            ITEM_BYTES[buffer.dtype],
        )  # fmt: skip
    return tensor_view(buffer, operand.offset_bytes, operand.shape, torch_dtype(buffer.dtype), ITEM_BYTES[buffer.dtype])


def _run_held(work: Work, inputs: Sequence[_Range], outputs: Sequence[_Range]) -> None:
    """Runs with every range loaded and at its address."""
    with ExitStack() as stack:
        for places, writes in ((inputs, False), (outputs, True)):
            for buffer, offset_bytes, size_bytes in places:
                if isinstance(buffer, StoredBuffer):  # what is mapped has its address all the time
                    stack.enter_context(buffer.tier.held(buffer, offset_bytes, size_bytes, writes=writes))
        work()
