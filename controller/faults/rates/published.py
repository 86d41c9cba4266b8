"""The published rates by name. Counts and figures are those of the sources; what we assume is said in `assumed`."""

from __future__ import annotations

from collections.abc import Mapping

from controller.errors import UserError
from controller.faults.rates.failure_rates import FailureCause, FailureRates, of_counts
from controller.topology.nearest import hint

_LLAMA3_GPU_H = 21.23e6
_LLAMA3_GPUS = {
    "faulty GPU": 148, "HBM3 memory": 72, "software bug": 54, "switch or cable": 35, "GPU SRAM": 19,
    "GPU system processor": 17, "NCCL watchdog": 7, "silent data corruption": 6, "thermal interface": 6,
}  # fmt: skip
_LLAMA3_HOSTS = {
    "host maintenance": 32, "NIC": 7, "SSD": 3, "power supply": 3, "chassis": 2, "IO board": 2, "dependency": 2,
    "CPU": 2, "system memory": 2,
}  # fmt: skip
_LLAMA3_SHOWS = {
    "software bug": "hang", "NCCL watchdog": "hang", "dependency": "hang", "switch or cable": "dead_link",
    "NIC": "dead_link", "silent data corruption": "corrupt", "thermal interface": "slow",
}  # fmt: skip
"""How causes show that do not end a process: assumed, since the source only counts interruptions."""
_MINUTE_S = 60.0
_DAY_S = 86400.0

META_LLAMA3 = FailureRates(
    "meta_llama3",
    (
        *of_counts(_LLAMA3_GPUS, "gpu", _LLAMA3_GPU_H, "device", _LLAMA3_SHOWS),
        *of_counts(_LLAMA3_HOSTS, "host", _LLAMA3_GPU_H / 8, "host", _LLAMA3_SHOWS),
    ),
    8,
    "The Llama 3 Herd of Models, table 5: 419 unexpected interruptions of 16,384 H100 in 54 days",
    detect_s=30.0,
    diagnose_s=60.0,
    reinit_s=5 * _MINUTE_S,
    assumed="detection 30 s, diagnosis 1 min, re-initialisation 5 min: ByteRobust detects in 10 to 30 s, and 5 min is "
    "the shortest that Meta's clusters report",
)
RSC1 = FailureRates(
    "rsc1",
    (FailureCause("infrastructure", "host", 6.50e-3 / 24.0, strikes="host"),),
    8,
    "Kokolis et al., Revisiting Reliability in Large-Scale Machine Learning Research Clusters: 6.50 failures per "
    "1,000 node-days on 16,000 A100",
    burst_share=0.04,
    burst_size=1.0,
    detect_s=5 * _MINUTE_S,
    reinit_s=5 * _MINUTE_S,
    assumed="a burst has one further failure (co-occurrence 3 to 5 %); checks every 5 min detect, and u0 is 10 min of "
    "the 5 to 20 that are reported",
)
STEPFUN = FailureRates(
    "stepfun",
    (FailureCause("server fault", "host", 4.19e-3 / 24.0, strikes="host"),),
    8,
    "StepFun InfiniteHBD-Trace: 584 faults of 400 servers in 348 days",
    burst_share=0.02,
    burst_size=4.0,
    lemon_share=0.15,
    lemon_factor=5.0,
    useless_repairs=0.2,
    repair_mean_s=5.4 * _DAY_S,
    repair_median_s=0.85 * _DAY_S,
    detect_s=30.0,
    diagnose_s=60.0,
    reinit_s=5 * _MINUTE_S,
    assumed="lemons are 15 % at 5 times the rate, as AIReSim has them; a fifth of repairs do not help; a burst in 50 "
    "failures, of 4 more; times of an interruption as for meta_llama3",
)
C4_JUNE = FailureRates(
    "c4_june",
    (
        FailureCause("CUDA error", "gpu", 5 / (2400 * 720.0)),
        FailureCause("ECC or NVLink", "gpu", 11 / (2400 * 720.0)),
        FailureCause("NCCL timeout", "gpu", 8 / (2400 * 720.0), shows="hang"),
        FailureCause("ACK timeout", "gpu", 11 / (2400 * 720.0), shows="dead_link"),
        FailureCause("other network", "gpu", 5 / (2400 * 720.0), strikes="link", shows="dead_link"),
    ),
    8,
    "Dong et al., C4: 40 crashes of 2,400 H800 in June 2023 (shares are multiples of 1/40; recalled, not read)",
    detect_s=36.8 * _MINUTE_S,
    diagnose_s=212 * _MINUTE_S,
    reinit_s=6.5 * _MINUTE_S,
    assumed="a month of 720 h",
)
C4_DECEMBER = FailureRates(
    "c4_december",
    (FailureCause("all causes", "gpu", 10 / (2400 * 720.0)),),
    8,
    "Dong et al., C4: December 2023, from the shares of its downtime (recalled, not read)",
    detect_s=2.2 * _MINUTE_S,
    diagnose_s=31.5 * _MINUTE_S,
    reinit_s=6.5 * _MINUTE_S,
    assumed="a re-initialisation takes as long as in June, 6.5 min, which makes 0.15 % of 720 h ten crashes; the other "
    "times follow from their shares",
)
GREYHOUND = FailureRates(
    "greyhound",
    (
        FailureCause(
            "CPU contention", "host", 4 / (392 * 80 / 60.0), "slow", (1.1, 1.3), "host", 10 * _MINUTE_S, "slow"
        ),
        FailureCause(
            "GPU throttling", "gpu", 2 / (392 * 80 / 60.0 * 4), "slow", (1.2, 1.2), "device", 10 * _MINUTE_S, "slow"
        ),
        FailureCause(
            "congestion",
            "host",
            42 / (107 * 5.0 * 4),
            "bandwidth",
            (0.3, 0.8),
            "link",
            24 * _MINUTE_S,
            "bandwidth",
        ),
        FailureCause("fail-stop", "gpu", 2e-5),
    ),
    8,
    "Wu et al., Greyhound, characterisation on a shared cluster of over 10,000 GPUs; jobs of one node (392, 6 slow), "
    "and of four (107, 43 slow)",
    detect_s=30.0,
    diagnose_s=60.0,
    reinit_s=5 * _MINUTE_S,
    assumed="jobs of one node last 80 min and those of four 5 h; severities of contention and congestion; fail-stop "
    "2e-5 per GPU-hour, on which three other sources agree; a GPU is 20 % slower when it throttles",
)
RATES: Mapping[str, FailureRates] = {
    each.name: each for each in (META_LLAMA3, RSC1, STEPFUN, C4_JUNE, C4_DECEMBER, GREYHOUND)
}


class UnknownRates(UserError):
    """No published rates of that name."""


def rates_called(name: str) -> FailureRates:
    """The rates called `name`.

    Raises:
        UnknownRates: there are none; names the nearest.
    """
    if name not in RATES:
        raise UnknownRates(f"no rates called {name!r}{hint(name, RATES, 'rates')}")
    return RATES[name]
