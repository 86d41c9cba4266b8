"""What a user may choose of a stream of requests, and of a fixed batch instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.program.options import Choice, Count, Duration, Options, Share, Text, option

STREAM_ONLY = ("max_batch", "utilisation", "host_step", "host_sequence", "grain")
"""Options of a stream that a fixed batch would ignore."""
FIXED_ONLY = ("prefill",)
"""The other way round: a stream is decoded alone."""

UTILISATION: Final = 0.9
"""Share of a device's memory that a server takes (vLLM's default)."""
HOUR_S: Final = 3600.0
"""Nobody waits longer for a host between two iterations [s]."""


@dataclass(frozen=True)
class StreamOptions(Options):
    """What a user may choose of a stream of requests, and of a fixed batch instead."""

    requests: Text | None = option(
        None, "a stream of requests instead of --batch: azure_conv, azure_code, kimi_conv, kimi_ta, or a CSV file"
    )
    max_batch: Count = option(0, "requests of a stream at once, at most; 0 for as many as the KV cache holds", least=0)
    utilisation: Share = option(UTILISATION, "share of a device's memory that the server takes")
    host_step: Duration = option("5 ms", "host time of an iteration of a stream", most=HOUR_S)
    host_sequence: Duration = option("31.25 us", "host time of every request in it", most=HOUR_S)
    grain: Count = option(32, "steps an octave to which batches of a stream are rounded, 0 for none", least=0)
    prefill: Choice = option(
        "here", "where prompts of a fixed batch are computed; elsewhere: they are there when time starts",
        choices=("here", "elsewhere"),
    )  # fmt: skip


def has_stream(scenario: Scenario) -> bool:
    """Whether ``--requests`` asks for a stream of requests instead of a fixed batch.

    Raises:
        BadWorkload: an option that only the other of the two has.
    """
    streams = "requests" in scenario.options
    for name in FIXED_ONLY if streams else STREAM_ONLY:
        if name in scenario.options:
            flag = f"--{name.replace('_', '-')}"
            raise BadWorkload(
                f"{flag} {scenario.options[name]} belongs to "
                + ("a fixed batch, but --requests asks for a stream" if streams else "a stream of requests")
                + f": remove {flag}" + ("" if streams else ", or name a stream with --requests")
            )  # fmt: skip
    return streams
