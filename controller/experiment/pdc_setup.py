"""A server of prefill, decode and caching pools on a supernode: its instances, its store and the plane of each way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, prod

from controller.errors import BadTopology, BadWorkload
from controller.experiment.serving_setup import ServingSetup, check_requests
from controller.experiment.serving_spec import ServeSpec
from controller.faults.effects import EffectsOf
from controller.faults.timeline import Timeline
from controller.models.catalog import load_model
from controller.models.formats import FORMATS
from controller.offload.die_decode import DecodeSetting
from controller.offload.die_prefill import PrefillSetting
from controller.serving.client_request import RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.cluster_state import PREFILL
from controller.serving.clusters.pdc import source_rank
from controller.serving.clusters.pdc_cluster import PdcCluster
from controller.serving.clusters.pdc_handoff import HandoffMover
from controller.serving.clusters.pdc_outages import PdcOutages
from controller.serving.clusters.pdc_store import BlockStore, CacheServer
from controller.serving.clusters.pdc_transport import UB, VPC, CacheTransport, cold_s, switch_s
from controller.serving.clusters.table import load_cluster
from controller.serving.device_times.audit import AuditedIteration
from controller.serving.device_times.die_times import DieOracle, DieTimes
from controller.serving.device_times.expert_parts import rank_weights
from controller.serving.expert_instance import rank_blocks
from controller.serving.fleet import InstanceSpec
from controller.serving.instance import ServingInstance
from controller.serving.layout import instance_devices
from controller.serving.outages import ServingOutages
from controller.serving.requests.open import open_requests
from controller.serving.schedulers.table import load_scheduler
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES

GRAPHS = "npu.issue.launch=0 us"
"""Graphs are launched whole, one behind the other (section 4.2.4)."""
DISPATCHED_BYTES, COMBINED_BYTES = 7_680, 14_336
"""Messages that receive windows are made for, as a token of 7,168 elements has them (section 4.2.1) [bytes]."""
CACHE_BLOCK_TOKENS = 128


class PdcSetup(ServingSetup):
    """Implements what `serve` needs of a setup."""

    def __init__(self, spec: ServeSpec) -> None:
        """Loads and checks.

        Raises:
            UserError: pools that the topology has no dies for, or sizes that do not fit.
        """
        self.spec, self.cluster = spec, load_cluster(spec.cluster)
        self.options = {**self.cluster.options, **spec.cluster_options}
        strange = sorted(set(spec.cluster_options) - set(self.cluster.options))
        if strange:
            raise BadWorkload(
                f"--cluster-option {strange[0]}: {spec.cluster} has no such option; it has "
                f"{', '.join(self.cluster.options)}"
            )
        for name, given in (("tp", spec.tp), ("pp", spec.pp), ("ep", spec.ep), ("instances", spec.instances)):
            if given != 1:
                raise BadWorkload(
                    f"--{name} {given}: pools have shapes of their own; write --cluster-option prefill=N, decode=N, "
                    f"prefill_ep=N or decode_ep=N"
                )
        self.topology = load_topology(spec.topology, spec.overrides, spec.catalog)
        self.shape = load_model(spec.model)
        self._check_fused()
        self.topology = self._loaded()
        self._cache_block_tokens = CACHE_BLOCK_TOKENS
        pools = {name: int(self.options[name]) for name in ("prefill", "decode", "prefill_ep", "decode_ep")}
        for name in ("prefill", "decode"):
            if pools[name] < 1 or pools[f"{name}_ep"] < 1:
                raise BadWorkload(
                    f"the {name} pool has no device: {pools[name]} instances of {pools[f'{name}_ep']} dies; write "
                    f"--cluster-option {name}=1 and --cluster-option {name}_ep=N, or more"
                )
        source_rank(pools["prefill_ep"], 1, pools["decode_ep"], 0)
        need = sum(pools[name] * pools[f"{name}_ep"] for name in ("prefill", "decode"))
        have = len(self.topology.of_kind("npu"))
        if need > have:
            raise BadTopology(
                f"{pools['prefill']} prefill instances of {pools['prefill_ep']} dies and {pools['decode']} decode "
                f"instances of {pools['decode_ep']} need {need}, and topology {self.topology.name!r} has {have}; lower "
                f"--cluster-option prefill=N or decode_ep=N, or raise --set fabric.hosts=N"
            )
        self.devices = instance_devices(
            self.topology, pools["prefill"] + pools["decode"], 1, 1,
            {"prefill": pools["prefill"], "prefill_tp": pools["prefill_ep"], "decode_tp": pools["decode_ep"]}, True,
        )  # fmt: skip
        self.timeline = Timeline.of(self.topology, spec.faults)
        self._start(pools)

    def _loaded(self, *more: str) -> Topology:
        spec = self.spec
        return load_topology(spec.topology, (GRAPHS, *spec.overrides, *more), spec.catalog)

    def _check_fused(self) -> None:
        shape, dies = self.shape, self.topology.of_kind("npu")
        if not dies or "fused" not in dies[0].spec.queues:
            raise BadTopology(
                f"topology {self.topology.name!r} has no dies with fused operators, which {self.spec.cluster} serves "
                f"on; write --topology cloudmatrix384, or another --cluster"
            )
        if shape.experts is None or shape.latent is None or not shape.experts.shared_intermediate:
            raise BadWorkload(
                f"{shape.name} has not the experts, the shared expert and the latent attention that "
                f"{self.spec.cluster} serves; write --model deepseek-r1"
            )

        if shape.experts.capacity_factor:
            raise BadWorkload(
                f"{shape.name} has a capacity of experts, and {self.spec.cluster} drops nothing; write null for its "
                f"factor in the configuration, or another --model"
            )

    def _start(self, pools: dict[str, int]) -> None:
        """Times, rooms and limits of the instances."""
        options, experts = self.options, self.shape.experts
        assert experts is not None
        redundant, shared = int(options["redundant"]), int(options["shared"])
        sequences, drafts = max(1, ceil(options["batch"] / 2)), int(options["drafts"])
        slots = {PREFILL: _slots(experts.count + redundant, pools["prefill_ep"], "prefill"),
                 "decode": _slots(experts.count + redundant + shared, pools["decode_ep"], "decode")}  # fmt: skip
        if not 0 <= options["accepted"] <= 1:
            raise BadWorkload(f"--cluster-option accepted={options['accepted']:g}; write a share of 0 to 1")
        tokens = sequences * (1 + drafts)
        window = int(options["window"]) or tokens * min(experts.chosen, slots["decode"])
        if window < tokens * min(experts.chosen, slots["decode"]):
            raise BadWorkload(
                f"--cluster-option window={window}: a die sends up to {tokens * min(experts.chosen, slots['decode'])} "
                f"tokens to another one in a step ({sequences} requests with {1 + drafts} tokens each), which "
                f"overflows its receive window; write window={tokens * min(experts.chosen, slots['decode'])} or a "
                f"smaller --cluster-option batch=N"
            )
        self.oracle = DieOracle(
            PrefillSetting(dies=pools["prefill_ep"], redundant=redundant),
            DecodeSetting(dies=pools["decode_ep"], drafts=drafts, shared_copies=shared, redundant=redundant),
            float(options["accepted"]),
        )
        shape = replace(self.shape, quantization=FORMATS["int8"])
        pass_tokens = max(1, int(options["prefill_tokens"]) // 2)
        self.weight_bytes = {
            role: sum(ITEM_BYTES[kind] * prod(extents) for kind, extents in rank_weights(shape, "bf16", count).values())
            for role, count in slots.items()
        }
        windows = {PREFILL: 0, "decode": pools["decode_ep"] * window * (DISPATCHED_BYTES + COMBINED_BYTES)}
        self.instances, times, rooms = [], {}, {}
        for role in (PREFILL, "decode"):
            dies = pools[f"{role}_ep"]
            times[role] = DieTimes(self.topology, self.shape, self.oracle, dies, self.spec.grain)
            rooms[role] = dies * rank_blocks(
                self.topology, shape, self.devices[0].stages[0][0], "bf16", slots[role], self.spec.utilisation,
                pass_tokens if role == PREFILL else tokens, self.weight_bytes[role] + windows[role],
            )  # fmt: skip
        self.device_times = list(times.values())  # type: ignore[arg-type]
        self.scheduler = load_scheduler("decode_only", {"max_requests": sequences * pools["decode_ep"]})
        self.scheduler = replace(self.scheduler, name="pdc")
        prefill = load_scheduler(
            "prefill_only", {"max_requests": 1 << 20, "budget_tokens": pass_tokens * pools["prefill_ep"]}
        )
        for each in self.devices:
            entry = prefill if each.role == PREFILL else self.scheduler
            self.instances.append(
                InstanceSpec(times[each.role], rooms[each.role], entry.limits, entry.decide, 1, each.count)
            )

    def audited(self) -> list[AuditedIteration]:
        """None: a step is one plan already."""
        return []

    def outages(self, inner: ServingCluster | None, strike: Callable[[str], None] | None = None) -> ServingOutages:
        """What breaks of instances, cache servers and links."""
        assert isinstance(inner, PdcCluster)
        devices = [[name for stage in each.stages for name in stage] for each in self.devices]
        return PdcOutages(inner, EffectsOf(self.timeline).all(), devices, self.topology)

    def stream(self, rate_per_s: float | None = None) -> RequestStreamSpec:
        """The requests; their hash blocks are the blocks of the store."""
        spec = self.spec
        stream = open_requests(
            spec.requests, spec.lengths, spec.num_prompts, spec.seed, rate_per_s, spec.classes, spec.max_model_len
        )
        check_requests(stream, self.shape, min(each.blocks for each in self.instances))
        hashed = next((each.prefix_block_tokens for each in stream.requests if each.prefix), CACHE_BLOCK_TOKENS)
        self._cache_block_tokens = hashed
        decode = self.oracle.decode
        said = (
            f"a decode step gives {self.oracle.tokens_a_step:.3g} tokens a request: {decode.drafts} draft tokens, "
            f"{self.oracle.accepted:.0%} accepted (the paper's assumption); products are in INT8, the router is "
            f"balanced, and the host's work between steps is hidden, as graphs follow each other",
        )
        return replace(stream, notes=(*stream.notes, *said))

    def dispatcher(self, instances: list[ServingInstance]) -> PdcCluster:
        """The pools over fresh instances."""
        options, spec = self.options, self.spec
        token_bytes = self.shape.kv_bytes_per_token("bf16")
        groups = [each.stages[0] for each in self.devices]
        plane = self._loaded("link.npu.ub-ub_l1.failed=true") if options["rdma"] else self.topology
        handoffs = HandoffMover([plane, self.topology], groups, token_bytes)
        servers = self._servers()
        store = transport = None
        block_bytes = self._cache_block_tokens * token_bytes
        if servers:
            flash_bytes = options["flash_gb"] * 1e9 / max(1, len(servers) // max(1, int(options["cache"])))
            store = BlockStore([
                CacheServer(
                    name, int(self.topology.devices[name].spec.tiers["dram"].capacity_bytes * options["cache_share"])
                    // block_bytes, int(flash_bytes) // block_bytes,
                )
                for name in servers
            ])  # fmt: skip
            on_ub = bool(options["ub"])
            dies = [die for each in self.devices if each.role == PREFILL for die in each.stages[0]]
            off_ub = self.topology if on_ub else self._loaded("link.cpu.ub-ub_l1.failed=true")
            transport = CacheTransport(
                self.topology, off_ub, servers, dies, block_bytes, UB if on_ub else VPC
            )  # fmt: skip
        times_s = self._model_times_s(groups, servers)
        ready_at = (0.0, times_s.get("switch_decode", 0.0), times_s.get("cold_decode", 0.0))[int(options["start"])]
        roles = [each.role for each in self.devices]
        return PdcCluster(
            self.cluster, instances[: len(groups)], handoffs, roles, dict(options) if spec else {}, store, transport,
            times_s, ready_at,
        )  # fmt: skip

    def _servers(self) -> list[str]:
        hosts = list(dict.fromkeys(each.host for each in self.topology.of_kind("cpu")))
        count = int(self.options["cache"])
        if count > len(hosts):
            raise BadTopology(
                f"--cluster-option cache={count}: topology {self.topology.name!r} has {len(hosts)} hosts with DRAM to "
                f"pool; write cache={len(hosts)} or less"
            )
        chosen = set(hosts[:count])
        return [each.name for each in self.topology.of_kind("cpu") if each.host in chosen]

    def _model_times_s(self, groups: list[tuple[str, ...]], servers: list[str]) -> dict[str, float]:
        """Until an instance of each pool has its weights: cached in pooled DRAM, and out of object storage."""
        if not servers:
            return {}
        made = {}
        model_bytes = replace(self.shape, quantization=FORMATS["int8"]).weight_bytes("bf16")
        bucket_s = cold_s(self.topology, servers, model_bytes)
        for each, group in zip(self.devices, groups, strict=True):
            if f"switch_{each.role}" not in made:
                made[f"switch_{each.role}"] = switch_s(self.topology, group, self.weight_bytes[each.role])
                made[f"cold_{each.role}"] = bucket_s + made[f"switch_{each.role}"]
        return made


def _slots(experts: int, dies: int, pool: str) -> int:
    """Experts of a layer on every die.

    Raises:
        BadWorkload: they do not divide.
    """
    if experts % dies:
        fitting = next(number for number in range(dies, 0, -1) if experts % number == 0)
        raise BadWorkload(
            f"{experts} experts with their copies do not divide over {dies} dies of the {pool} pool; write "
            f"--cluster-option {pool}_ep={fitting}, or --cluster-option redundant=N"
        )
    return experts // dies
