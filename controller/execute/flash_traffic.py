"""Bytes that a run reads from and writes to flash: what wears a drive out, beside what takes its time.

Counted when a plan is submitted, from its ops and the sizes that it is bound to: a transfer moves the bytes of its
view, a kernel those that its cost model says, in whole pages. Ops of one signature are counted once and multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.plan.bound import bind_kernel, view_bytes
from controller.plan.memo import PlanMemo
from controller.plan.ops import Kernel, Plan, Transfer, View
from controller.plan.size import Bindings
from controller.topology.schema import Topology
from node.hardware.cost import kernel_cost

TierName = tuple[str, str]
"""Device and tier."""


@dataclass(slots=True)
class FlashUse:
    """What went through one flash tier [bytes]."""

    read_bytes: float = 0.0
    written_bytes: float = 0.0


@dataclass(slots=True)
class _Touching:
    """Ops of one signature that touch flash."""

    op: Kernel | Transfer
    count: int = 0


class FlashTraffic:
    """Sums over all plans of a run."""

    def __init__(self, topology: Topology) -> None:
        self._specs = {device.name: device.spec for device in topology.devices.values()}
        self._flash = frozenset(
            (device.name, tier.name)
            for device in topology.devices.values()
            for tier in device.spec.tiers.values()
            if tier.storage == "flash"
        )
        self._uses: dict[TierName, FlashUse] = {}
        self._kept: PlanMemo[dict[Any, _Touching]] = PlanMemo()

    def add(self, plan: Plan, bindings: Bindings) -> None:
        """Counts one execution of `plan`."""
        if not self._flash:
            return
        for entry in self._kept.of(plan, self._touching).values():
            if isinstance(entry.op, Transfer):
                self._add_transfer(entry.op, entry.count, bindings)
            else:
                self._add_kernel(entry.op, entry.count, bindings)

    def uses(self) -> Mapping[str, FlashUse]:
        """By ``device.tier``, in the order of first use."""
        return {f"{device}.{tier}": use for (device, tier), use in self._uses.items()}

    def _touching(self, plan: Plan) -> dict[Any, _Touching]:
        found: dict[Any, _Touching] = {}
        for op in plan.ops:
            if isinstance(op, Kernel):
                views = (*op.inputs, *op.outputs)
                extra: Any = (op.op, op.device, tuple(op.attributes.items()), len(op.inputs))
            elif isinstance(op, Transfer):
                views = (*op.sources, *op.destinations)
                extra = ("", len(op.sources))
            else:
                continue
            if not any(map(self._is_flash, views)):
                continue
            key = (
                extra,
                tuple((view.buffer.device, view.buffer.tier, view.buffer.dtype, view.shape) for view in views),
            )
            found.setdefault(key, _Touching(op)).count += 1
        return found

    def _is_flash(self, view: View) -> bool:
        return (view.buffer.device, view.buffer.tier) in self._flash

    def _add_transfer(self, op: Transfer, count: int, bindings: Bindings) -> None:
        for view in filter(self._is_flash, op.sources):
            self._use(view.buffer.device, view.buffer.tier).read_bytes += count * view_bytes(view, bindings)
        for view in filter(self._is_flash, op.destinations):
            self._use(view.buffer.device, view.buffer.tier).written_bytes += count * view_bytes(view, bindings)

    def _add_kernel(self, op: Kernel, count: int, bindings: Bindings) -> None:
        cost = kernel_cost(
            self._specs[op.device],
            bind_kernel(op, bindings).demand(),
            tuple(view.buffer.tier for view in op.inputs),
            tuple(view.buffer.tier for view in op.outputs),
        )
        for tier, size in cost.read_bytes.items():
            if size and (op.device, tier) in self._flash:
                self._use(op.device, tier).read_bytes += count * size
        for tier, size in cost.write_bytes.items():
            if size and (op.device, tier) in self._flash:
                self._use(op.device, tier).written_bytes += count * size

    def _use(self, device: str, tier: str) -> FlashUse:
        return self._uses.setdefault((device, tier), FlashUse())


def wear_ratio(topology: Topology, tier: str, written_bytes: float) -> float | None:
    """Share of a flash tier's rated life that writing so much used up; None where no endurance is declared.

    Args:
        topology: the declared cluster.
        tier: as ``device.tier``.
        written_bytes: appended in blocks that die together, so that the drive moves nothing else [bytes].
    """
    device, _, name = tier.partition(".")
    endurance = topology.devices[device].spec.tiers[name].endurance_bytes
    return None if endurance is None else written_bytes / endurance
