"""A run of a server as the object of ``serve --json``, and as lines for people."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from controller.experiment.result import assumptions
from controller.experiment.serving_run import ServingExperiment
from controller.serving.instance import ServingInstance
from controller.serving.token_times import token_gaps


def serving_json(found: ServingExperiment, detailed: bool = False) -> dict[str, Any]:
    """vLLM's keys, and ours behind them."""
    spec = found.spec
    made: dict[str, Any] = {
        "backend": "windtunnel",
        "scheduler": found.scheduler.name,
        "model_id": found.shape.name,
        "topology": found.topology.name,
        "num_prompts": len(found.states),
        "request_rate": None if not np.isfinite(found.stream.rate_per_s) else found.stream.rate_per_s,
        **found.metrics.to_json(),
    }
    if detailed:
        ends = [np.array(each.progress.step_end_at) for each in found.instances]
        made["input_lens"] = [state.request.prompt_tokens for state in found.states]
        made["output_lens"] = [state.request.output_tokens for state in found.states]
        made["ttfts"] = [state.first_at - state.request.arrival_at for state in found.states]
        made["itls"] = [token_gaps(state, ends).tolist() for state in found.states]
        made["errors"] = ["" if state.outcome == "ok" else state.outcome for state in found.states]
        made["requests"] = [
            {
                "number": state.request.number,
                "arrival_at": state.request.arrival_at,
                "admitted_at": state.admitted_at,
                "first_token_at": state.first_at,
                "end_at": state.end_at,
                "instance": state.instance,
                "class": state.request.kind,
                "preemptions": state.preemptions,
                "migrations": state.migrations,
                "cached_tokens": state.cached_tokens,
                "outcome": state.outcome,
            }
            for state in found.states
        ]
    made["instances"] = [instance_json(each, found.time_s) for each in found.instances]
    if found.cluster is not None:
        made["cluster"] = {
            "policy": found.cluster.entry.name,
            "migrations": found.cluster.moves.migrations,
            "migrations_given_up": found.cluster.moves.aborted,
            "moved_tokens": found.cluster.moves.moved_tokens,
            "downtimes_s": found.cluster.moves.downtimes_s,
            "mean_instances_on": found.cluster.on_s / found.time_s if found.time_s else 0.0,
            "roles": found.cluster.state.roles,
            **found.cluster.details(),
        }
    if found.power is not None:
        made["power_caps"] = {
            "peak_ratio": found.power.peak_ratio,
            "commands": found.power.commands,
            "brakes": found.power.brakes,
            "capped_s": found.power.capped_s,
        }
    if found.outages is not None:
        made["faults"] = {
            "lost_kv_blocks": found.outages.lost_blocks,
            "requests_resent": found.outages.resent,
            "requests_lost": found.outages.lost,
            "requests_refused": found.outages.refused,
            "events": [{"at_s": at, "instance": number, "what": what} for at, number, what in found.outages.log],
        }
    made["time_s"], made["wall_s"] = found.time_s, found.wall_s
    made["plans_executed"] = found.plans_executed
    made["grain_error"] = found.grain_error
    made["audited"] = [
        {"rows": each.load.rows, "context_tokens": each.load.context_tokens, "chunks": each.load.chunks,
         "parts_s": each.parts_s, "whole_s": each.whole_s, "error": each.error}
        for each in found.audited
    ]  # fmt: skip
    made["queue_growth_per_s"] = found.growth_per_s
    made["notes"] = list(found.notes)
    made["assumed"] = [vars(entry) for entry in assumptions(found.topology)] + [
        {"device": "host", "path": "host_step", "text": f"{spec.host_step_s * 1e3:g} ms", "source": "vLLM issue 6854"},
        {"device": "host", "path": "host_sequence", "text": f"{spec.host_sequence_s * 1e6:g} us",
         "source": "vLLM issue 6854"},
    ]  # fmt: skip
    made["provenance"] = {
        "version": version("windtunnel"),
        "topology_digest": found.topology.digest,
        "seed": spec.seed,
        "overrides": list(found.topology.overrides),
        "grain": spec.grain,
        "limits": asdict(found.scheduler.limits),
    }
    return made


def instance_json(instance: ServingInstance, time_s: float) -> dict[str, Any]:
    """What one instance did."""
    state, progress = instance.state, instance.progress
    return {
        "instance": state.number,
        "iterations": instance.iterations,
        "busy_ratio": instance.busy_s / time_s if time_s else 0.0,
        "kv_capacity_tokens": state.pool.capacity_blocks * state.pool.block_tokens,
        "kv_peak_ratio": state.pool.peak_blocks / state.pool.capacity_blocks,
        "kv_mean_ratio": mean_kv_ratio(instance),
        "preemptions": progress.preemptions,
        "recomputed_tokens": progress.recomputed_tokens,
        "prefix_queries_tokens": state.pool.queried_tokens,
        "prefix_hit_tokens": state.pool.hit_tokens,
        "kv_evicted_blocks": state.pool.evicted_blocks,
        "kv_fetched_blocks": state.pool.fetched_blocks,
    }


def mean_kv_ratio(instance: ServingInstance) -> float:
    """Share of the blocks that were held, over time."""
    samples = instance.samples
    if len(samples) < 2:
        return 0.0
    when = np.array([sample[0] for sample in samples])
    held = np.array([sample[1] for sample in samples[:-1]])
    span = when[-1] - when[0]
    return float((held * np.diff(when)).sum() / span / instance.state.pool.capacity_blocks) if span else 0.0


def instance_lines(found: ServingExperiment) -> list[str]:
    """A line for each instance."""
    lines = []
    for each in found.instances:
        made = instance_json(each, found.time_s)
        lines.append(
            f"instance {made['instance']}: {made['iterations']} iterations, busy {made['busy_ratio']:.1%}, KV pool "
            f"{made['kv_capacity_tokens']} tokens, mean {made['kv_mean_ratio']:.1%}, peak {made['kv_peak_ratio']:.1%}, "
            f"{made['preemptions']} preemptions"
            + (f", {made['prefix_hit_tokens']} prompt tokens cached" if made["prefix_queries_tokens"] else "")
        )
    return lines
