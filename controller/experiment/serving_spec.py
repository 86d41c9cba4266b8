"""What a user asks of a server: model, scheduler, requests and their objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.serving.client_request import NO_SLO, Slo
from controller.topology.fault import Fault


@dataclass(frozen=True)
class ServeSpec:
    """One run of a server.

    Attributes:
        topology, model: names or paths.
        scheduler: a name of the table or ``file.py:function``.
        requests: arrivals as text, or a file.
        lengths: as text; "" where the file of requests has them.
        num_prompts: requests to draw, or to take of a file at most; None for 1000, or all of a file.
        cluster: policy of several instances.
        instances, tp, pp, ep: how the devices are divided.
        slo: objective of every request.
        utilisation: share of a device's memory that a server takes.
        host_step_s, host_sequence_s: the host's work between iterations, and for every request in one [s].
        limits: changes of the scheduler's limits.
        kv_tokens: of the KV cache; None for what the devices have room for.
        grain: executed sizes an octave; 0 for every size.
        surface: a published table of iteration times in place of the devices'; "" for none.
        seed: of everything that is drawn.
        overrides, catalog: of the topology.
        classes: of requests, as text.
        exact: iterations that are executed whole, to say how far off the sum of parts is.
        max_model_len: requests are cut to as many tokens; None to refuse what the model has no positions for.
        cluster_options: of the cluster policy.
        faults: what breaks when.
        power_budget_w: of all instances together, kept by POLCA's caps; 0 for no caps [W].
        low_priority: instances that are capped first, the last ones.
        host_kv_tokens: of cached prefixes that the host's memory behind an instance keeps; 0 for none.
    """

    model: str
    topology: str = "dgx_h100"
    scheduler: str = "vllm"
    requests: str = "poisson:1/s"
    lengths: str = ""
    num_prompts: int | None = None
    cluster: str = ""
    instances: int = 1
    tp: int = 1
    pp: int = 1
    ep: int = 1
    slo: Slo = NO_SLO
    utilisation: float = 0.9
    host_step_s: float = 5e-3
    host_sequence_s: float = 31.25e-6
    limits: Mapping[str, Any] = field(default_factory=dict)
    kv_tokens: int | None = None
    grain: int = 8
    surface: str = ""
    seed: int = 0
    overrides: tuple[str, ...] = ()
    catalog: tuple[Path, ...] = ()
    cluster_options: Mapping[str, float] = field(default_factory=dict)
    classes: str = ""
    exact: int = 2
    max_model_len: int | None = None
    faults: tuple[Fault, ...] = ()
    host_kv_tokens: int = 0
    power_budget_w: float = 0.0
    low_priority: int = 0
