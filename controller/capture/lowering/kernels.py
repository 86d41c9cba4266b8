"""What a call costs on a device: its kernels, each with its time and what it takes of the device."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.capture.lowering.attention import library_share
from controller.capture.lowering.bytes_of import streaming, whole
from controller.capture.lowering.table import rule_of
from controller.capture.trace import CallSignature
from node.hardware.cost import kernel_cost
from node.hardware.device import DeviceSpec
from node.hardware.peak import choose_unit, peak_flop_per_s


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel alone on the device.

    Attributes:
        time_s: without its start [s].
        start_s: of a kernel on its stream [s].
        memory_ratio: share of the bandwidth that memory gives to kernels that it takes.
        compute_ratio: share of the multiprocessors that it cannot do without.
    """

    time_s: float
    start_s: float
    memory_ratio: float
    compute_ratio: float


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one call comes to.

    Attributes:
        kernels: that it launches, in order.
        flop: of products and attention [FLOP].
        is_known: whether the table has the call; else its operands were counted.
        family: ``product``, ``attention`` or ``stream``.
    """

    kernels: tuple[KernelRow, ...]
    flop: float
    is_known: bool
    family: str

    @property
    def time_s(self) -> float:
        """Of all kernels, with their starts [s]."""
        return sum(kernel.time_s + kernel.start_s for kernel in self.kernels)


class CallCosts:
    """Costs of calls on one device, by signature."""

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self._flash2 = _with_flash2(spec)
        self._known: dict[CallSignature, CallCost] = {}
        self.tier = next(iter(spec.tiers))
        self.reached_bytes_per_s = spec.tiers[self.tier].read_bytes_per_s * _reached_share(spec)

    def of(self, call: CallSignature) -> CallCost:
        """The cost of a call."""
        cost = self._known.get(call)
        if cost is None:
            cost = self._known[call] = self._cost(call)
        return cost

    def _declared(self, call: CallSignature, work: tuple[float, int, int, float]) -> CallCost:
        """A call whose work the program declares: the longer of its arithmetic and its bytes."""
        flop, reads, writes, ratio = work
        unit = choose_unit(self.spec, call.value("declared_unit"))
        worked_s = flop / (ratio * peak_flop_per_s(unit, call.value("declared_dtype"), self.spec.product))
        busy_s = (reads + writes) / self.reached_bytes_per_s
        time_s = max(worked_s, busy_s)
        start_s = kernel_cost(self.spec, streaming(0, 4), (self.tier,), (self.tier,)).latency_s
        shares = (busy_s / time_s, worked_s / time_s) if time_s else (0.0, 0.0)
        return CallCost((KernelRow(time_s, start_s, *shares),), flop, True, "stream")

    def _cost(self, call: CallSignature) -> CallCost:
        work = call.value("declared")
        if work is not None:
            return self._declared(call, work)
        rule = rule_of(call.name)
        demands = whole(call) if rule is None else rule(call)
        rows: list[KernelRow] = []
        flop, family = 0.0, "stream"
        for demand in demands:
            spec = self.spec
            if demand.family == "prefill_attention":
                spec, family = self._flash2, "attention"
            elif demand.family == "gemm":
                family = "product"
            if demand.family != "elementwise":
                flop += demand.flop
            tiers = (self.tier,)
            found = kernel_cost(spec, demand, tiers * len(demand.reads), tiers * len(demand.writes))
            moved = sum(found.read_bytes.values()) + sum(found.write_bytes.values())
            busy_s = moved / self.reached_bytes_per_s
            worked_s = found.parts.get("compute", 0.0)
            time_s = found.time_s * demand.dims.get("slower", 1.0)
            rows.append(
                KernelRow(
                    time_s,
                    found.latency_s,
                    min(1.0, busy_s / time_s) if time_s else 0.0,
                    min(1.0, worked_s / time_s) if time_s else 0.0,
                )
            )
        return CallCost(tuple(rows), flop, rule is not None, family)


def _reached_share(spec: DeviceSpec) -> float:
    """Share of the declared bandwidth that kernels reach."""
    return max((unit.constants.get("memory_efficiency", 1.0) for unit in spec.computes.values()), default=1.0)


def _with_flash2(spec: DeviceSpec) -> DeviceSpec:
    """The device as PyTorch's attention kernels use it."""
    made = {}
    for name, unit in spec.computes.items():
        share = library_share(unit.constants)
        known = unit.constants.get("prefill_efficiency")
        made[name] = unit
        if known is not None and share < 1.0:
            made[name] = replace(unit, constants={**unit.constants, "prefill_efficiency": known * share})
    return replace(spec, computes=made)
