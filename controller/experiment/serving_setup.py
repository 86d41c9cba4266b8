"""A server that is loaded and checked, apart from its requests: devices, model, scheduler, times and cluster policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from controller.errors import BadWorkload
from controller.experiment.serving_spec import ServeSpec
from controller.faults.effects import EffectsOf
from controller.faults.kinds import CARRYING
from controller.faults.timeline import Timeline, with_faults
from controller.models.catalog import load_model
from controller.models.shape import ModelShape
from controller.models.sharding import Sharding
from controller.serving.client_request import RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.cluster_state import BOTH, PREFILL
from controller.serving.clusters.table import check_options, load_cluster
from controller.serving.device_times.audit import AuditedIteration, audit
from controller.serving.device_times.hops import HopTimes
from controller.serving.device_times.parts import IterationParts
from controller.serving.device_times.swaps import SwapTimes
from controller.serving.device_times.times import DeviceTimes, HostCosts
from controller.serving.expert_instance import check_parallel, expert_placement, expert_times, rank_blocks
from controller.serving.fleet import InstanceSpec
from controller.serving.instance import ServingInstance
from controller.serving.kv_movers import FabricMover
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.kv_room import block_bytes, kv_blocks
from controller.serving.layout import InstanceDevices, instance_devices
from controller.serving.outages import ServingOutages
from controller.serving.power_caps import PowerCappedRow
from controller.serving.requests.open import open_requests
from controller.serving.schedulers.table import load_scheduler
from controller.serving.surfaces.table import SurfaceEntry, load_surface
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


class ServingSetup:
    """Everything of a server that stays when only the requests change, as in a search of a rate.

    Attributes:
        spec, topology, shape, scheduler, cluster: that were loaded.
        timeline: of what breaks.
        devices: of every instance.
        instances: what each is started with.
        device_times: of the iterations of every kind of instance.
    """

    def __init__(self, spec: ServeSpec) -> None:
        """Loads and checks.

        Raises:
            UserError: a name that does not exist, or devices that cannot hold the model and one block.
        """
        self.spec = spec
        self.topology = load_topology(spec.topology, spec.overrides, spec.catalog)
        self.timeline = Timeline.of(self.topology, spec.faults)
        self.shape = load_model(spec.model)
        check_parallel(self.shape, spec.ep, spec.tp, spec.pp)
        self.scheduler = load_scheduler(spec.scheduler, spec.limits)
        self.cluster = load_cluster(spec.cluster or "round_robin")
        if self.cluster.name == "pdc":
            raise BadWorkload("--cluster pdc has times and no values: remove --live, or choose another --cluster")
        check_options(self.cluster, spec.cluster_options)
        self.devices = instance_devices(
            self.topology, spec.instances, spec.tp * spec.ep, spec.pp, spec.cluster_options, self.cluster.roles
        )
        self.instances: list[InstanceSpec] = []
        known: dict[tuple[object, ...], tuple[DeviceTimes, int]] = {}
        for each in self.devices:
            products = tuple(tuple(self.topology.devices[name].spec.product for name in stage) for stage in each.stages)
            if products not in known:
                known[products] = self._times_of(each)
            times, blocks = known[products]
            decide, limits = self.scheduler.decide, self.scheduler.limits
            if each.role != BOTH:
                entry = load_scheduler("prefill_only" if each.role == PREFILL else "decode_only", spec.limits)
                decide, limits = entry.decide, entry.limits
            if self.shape.parts:  # limits are of each device, which has requests of its own
                ranks = len(each.stages[0])
                limits = replace(
                    limits, max_requests=limits.max_requests * ranks, budget_tokens=limits.budget_tokens * ranks
                )
            self.instances.append(
                InstanceSpec(times, blocks, limits, decide, len(each.stages), each.count, self._host_blocks())
            )
        self.device_times = [times for times, _ in known.values()]
        if spec.surface:
            self._take_surface(load_surface(spec.surface))

    def _times_of(self, each: InstanceDevices) -> tuple[DeviceTimes, int]:
        spec, limits, stages = self.spec, self.scheduler.limits, len(each.stages)
        shape = _stage_shape(self.shape, stages)
        dtype = "fp16" if shape.dtype == "fp32" else shape.dtype
        most_tokens = max(limits.budget_tokens, shape.max_positions) + limits.max_requests
        first = each.stages[0]
        if shape.parts:
            return self._shared_times_of(first, dtype)
        sharding = Sharding(shape, first, dtype)
        blocks = kv_blocks(self.topology, sharding, spec.utilisation, most_tokens)
        if spec.kv_tokens is not None:
            blocks = self._asked_blocks(spec.kv_tokens, blocks, first[0])
        parts = IterationParts(self.topology, shape, first, dtype, blocks * BLOCK_TOKENS, most_tokens, stages)
        swaps = hops = None
        if limits.swap or spec.host_kv_tokens:
            swaps = SwapTimes(self.topology, first[0], shape.layers, block_bytes(sharding))
        if stages > 1:
            row_bytes = shape.hidden * ITEM_BYTES[dtype]
            hops = HopTimes(self.topology, first[0], each.stages[1][0], row_bytes, most_tokens)
        host = HostCosts(spec.host_step_s, spec.host_sequence_s)
        return DeviceTimes(self.topology, parts, host, spec.grain, swaps, hops), blocks

    def _shared_times_of(self, devices: tuple[str, ...], dtype: str) -> tuple[DeviceTimes, int]:
        """Of devices with requests of their own that share experts; the pool is that of all."""
        spec, shape, limits = self.spec, self.shape, self.scheduler.limits
        longest = min(shape.max_positions, spec.max_model_len or shape.max_positions)
        most_tokens = max(limits.budget_tokens, longest) + limits.max_requests
        placement = expert_placement(shape, len(devices), int(spec.cluster_options.get("redundant", 0)))
        blocks = rank_blocks(
            self.topology, shape, devices[0], dtype, placement.slots, spec.utilisation, most_tokens
        )  # fmt: skip
        host = HostCosts(spec.host_step_s, spec.host_sequence_s)
        times = expert_times(
            self.topology, shape, devices, placement, blocks, most_tokens, host, spec.grain, dtype
        )  # fmt: skip
        blocks *= len(devices)
        return times, blocks if spec.kv_tokens is None else self._asked_blocks(spec.kv_tokens, blocks, devices[0])

    def _asked_blocks(self, kv_tokens: int, blocks: int, device: str) -> int:
        asked = kv_tokens // BLOCK_TOKENS
        if asked < 1:
            raise BadWorkload(f"--kv-tokens {kv_tokens} is less than one block of {BLOCK_TOKENS} tokens; raise it")
        if asked > blocks:
            raise BadWorkload(
                f"--kv-tokens {kv_tokens}: {device} has room for {blocks * BLOCK_TOKENS} tokens beside the weights of "
                f"{self.shape.name}; lower it, or raise --utilisation or --tp"
            )
        return asked

    def _take_surface(self, entry: SurfaceEntry) -> None:
        """Puts an engine's published times, and its KV cache, in place of those of the devices."""
        for number, each in enumerate(self.instances):
            blocks = entry.kv_tokens // BLOCK_TOKENS if entry.kv_tokens and not self.spec.kv_tokens else each.blocks
            self.instances[number] = replace(each, times=entry.make(), blocks=blocks)

    def _host_blocks(self) -> int:
        """Blocks of prefixes that the host keeps behind an instance.

        Raises:
            BadWorkload: more than its memory holds, or no prefixes to keep.
        """
        tokens = self.spec.host_kv_tokens
        if not tokens:
            return 0
        if tokens < BLOCK_TOKENS or self.shape.parts or self.cluster.roles:
            raise BadWorkload(
                f"--host-kv-tokens {tokens}: take {BLOCK_TOKENS} or more, with a dense --model and instances that both "
                f"compute prompts and decode"
            )
        room = sum(
            tier.capacity_bytes for device in self.topology.devices.values()
            for name, tier in device.spec.tiers.items() if name == "dram"
        )  # fmt: skip
        need = tokens * self.shape.kv_bytes_per_token() * self.spec.instances
        if need > room:
            raise BadWorkload(
                f"--host-kv-tokens {tokens}: {self.spec.instances} instances keep {need} bytes, and topology "
                f"{self.topology.name!r} has {room} bytes of host memory; lower it"
            )
        return tokens // BLOCK_TOKENS

    def dispatcher(self, instances: list[ServingInstance]) -> ServingCluster | None:
        """The cluster policy over fresh instances; None for one instance."""
        if len(self.devices) == 1:
            return None
        groups = [each.stages[0] for each in self.devices]
        token_bytes = self._token_bytes()
        mover = FabricMover(self._fabric(), groups, [token_bytes / len(group) for group in groups])
        roles = [each.role for each in self.devices]
        return ServingCluster(self.cluster, instances[: len(groups)], mover, roles, self.spec.cluster_options)

    def _token_bytes(self) -> float:
        """KV of a token over all ranks of an instance [bytes]."""
        parts = self.device_times[0].parts
        if self.shape.parts:
            return self.shape.kv_bytes_per_token("fp16")
        return block_bytes(parts.sharding) / BLOCK_TOKENS * parts.sharding.world * parts.stages

    def audited(self) -> list[AuditedIteration]:
        """Iterations executed whole beside the sum of their parts; of devices that share experts none are."""
        times = self.device_times[0]
        return [] if self.shape.parts else audit(self.topology, times, self.spec.exact)

    def _fabric(self) -> Topology:
        """The topology with what breaks of its links: KV caches move over them."""
        carrying = [fault for fault in self.timeline.faults if fault.target.kind in CARRYING]
        return with_faults(self.topology, carrying)

    def outages(self, inner: ServingCluster | None, strike: Callable[[str], None] | None = None) -> ServingOutages:
        """What breaks of the instances, over a cluster policy or one instance alone."""
        devices = [[name for stage in each.stages for name in stage] for each in self.devices]
        return ServingOutages(inner, EffectsOf(self.timeline).all(), devices, strike)

    def power_caps(self, inner: ServingCluster | ServingOutages | None) -> PowerCappedRow:
        """POLCA's caps over the instances.

        Raises:
            BadWorkload: devices whose sheets have no power, or more instances of low priority than there are.
        """
        watts = []
        for each in self.devices:
            sheets = [self.topology.devices[name].spec for stage in each.stages for name in stage]
            for sheet in sheets:
                if not {"idle", "busy"} <= sheet.power_w.keys():
                    raise BadWorkload(f"--power-budget: the sheet of {sheet.product} lacks idle or busy power")
            watts.append((sum(each.power_w["idle"] for each in sheets), sum(each.power_w["busy"] for each in sheets)))
        if not 0 <= self.spec.low_priority <= len(watts):
            raise BadWorkload(f"--low-priority {self.spec.low_priority}: there are {len(watts)} instances")
        return PowerCappedRow(inner, watts, self.spec.power_budget_w, self.spec.low_priority)

    def stream(self, rate_per_s: float | None = None) -> RequestStreamSpec:
        """The requests, at another mean rate where one is given.

        Raises:
            BadWorkload: one that no instance can hold to its end.
        """
        stream = open_requests(
            self.spec.requests, self.spec.lengths, self.spec.num_prompts, self.spec.seed, rate_per_s,
            self.spec.classes, self.spec.max_model_len,
        )  # fmt: skip
        check_requests(stream, self.shape, min(each.blocks for each in self.instances))
        return self.scheduler.prepare(stream)


def check_requests(stream: RequestStreamSpec, shape: ModelShape, blocks: int) -> None:
    """Refuses requests that no instance can hold to their end.

    Raises:
        BadWorkload: longer than the model has positions, or than the KV pool.
    """
    longest = max(stream.requests, key=lambda request: request.total_tokens)
    total = longest.total_tokens
    if total > shape.max_positions:
        raise BadWorkload(
            f"request {longest.number} of {stream.name} has {longest.prompt_tokens} + {longest.output_tokens} tokens, "
            f"and {shape.name} was made for {shape.max_positions}; choose another model or shorter --lengths, or cut "
            f"them with --max-model-len {shape.max_positions}"
        )
    if total > blocks * BLOCK_TOKENS:
        raise BadWorkload(
            f"request {longest.number} of {stream.name} has {total} tokens, and the KV pool holds "
            f"{blocks * BLOCK_TOKENS}; raise --tp, --utilisation or --kv-tokens, or choose shorter --lengths"
        )


def _stage_shape(shape: ModelShape, stages: int) -> ModelShape:
    """The layers of the first pipeline stage.

    Raises:
        BadWorkload: layers that cannot be divided evenly.
    """
    if stages == 1:
        return shape
    if shape.layers % stages:
        raise BadWorkload(f"--pp {stages} does not divide {shape.layers} layers of {shape.name}; choose a divisor")
    layers = shape.layers // stages
    return replace(shape, layers=layers, sliding_layers=shape.sliding_layers[:layers])
