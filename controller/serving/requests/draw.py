"""Requests drawn from arrivals, lengths and classes, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.errors import BadWorkload, check_limit
from controller.serving.client_request import NO_SLO, ClientRequest, RequestStreamSpec, Slo
from controller.serving.requests.arrivals import ArrivalProcess
from controller.serving.requests.length_model import RequestLengths

MOST_REQUESTS = 2_000_000


@dataclass(frozen=True, slots=True)
class RequestClass:
    """A class of requests.

    Attributes:
        name: of the class.
        share: of all requests.
        priority: a lower number goes first.
        slo: of its requests.
    """

    name: str
    share: float
    priority: int = 0
    slo: Slo = NO_SLO


def draw_requests(
    arrivals: ArrivalProcess, lengths: RequestLengths, count: int, seed: int, classes: Sequence[RequestClass] = (),
    name: str = "",
) -> RequestStreamSpec:  # fmt: skip
    """`count` requests.

    Raises:
        BadWorkload: no request, too many, or shares that do not add up.
    """
    if count < 1:
        raise BadWorkload(f"--num-prompts {count}; a run has at least one request")
    check_limit(BadWorkload, "--num-prompts", count, MOST_REQUESTS, "every request takes memory", "ask for fewer")
    if seed < 0:
        raise BadWorkload(f"seed {seed} is negative; take 0 or more")
    when, sizes, kinds = (
        np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream]))) for stream in range(3)
    )
    arrive = arrivals.draw(count, when)
    prompts, outputs = lengths.prompt.draw(count, sizes), lengths.output.draw(count, sizes)
    if lengths.most_total:
        outputs = np.minimum(outputs, lengths.most_total - 1)
        prompts = np.minimum(prompts, lengths.most_total - outputs)
    chosen = _classes(classes, count, kinds)
    requests = [
        ClientRequest(number, at, prompt, output, kind.name, kind.priority)
        for number, (at, prompt, output, kind) in enumerate(
            zip(arrive.tolist(), prompts.tolist(), outputs.tolist(), chosen, strict=True)
        )
    ]
    notes = (f"lengths {lengths.name}: {lengths.source}",) if lengths.source else ()
    slos: Mapping[str, Slo] = {kind.name: kind.slo for kind in classes if kind.slo}
    return RequestStreamSpec(requests, name or lengths.name, arrivals.rate_per_s, arrivals.users, slos, notes)


def _classes(classes: Sequence[RequestClass], count: int, draw: np.random.Generator) -> Sequence[RequestClass]:
    if not classes:
        return [RequestClass("", 1.0)] * count
    shares = np.cumsum([kind.share for kind in classes])
    if abs(shares[-1] - 1.0) > 1e-6:
        raise BadWorkload(f"the shares of the classes add up to {shares[-1]:g}; let them add up to 1")
    return [classes[index] for index in np.minimum(np.searchsorted(shares, draw.random(count)), len(classes) - 1)]
