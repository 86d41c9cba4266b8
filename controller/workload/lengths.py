"""Streams drawn from log-normal lengths with the means of published traces.

Source of the means: Lamina (arXiv 2405.01814), table 4. Source of the spread: Splitwise (Patel et al., ISCA 2024,
arXiv 2311.18677, section III) gives the medians of the two Azure traces, 1,020 and 129 tokens for conversations, 1,500
and 13 for code; a log-normal length of mean m and median d has sigma = sqrt(2 ln(m / d)). Nobody publishes the medians
of the Kimi traces: they are assumed to spread as Azure's conversations do.
Not modelled: that long prompts may go with short answers; the two lengths of a request are drawn independently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import Final
from zlib import crc32

import numpy as np

from controller.workload.requests import Lengths, RequestStream

REQUESTS: Final = 2000
"""Requests of a drawn stream."""


@dataclass(frozen=True, slots=True)
class TraceLengths:
    """What is published of a trace.

    Attributes:
        prompt_mean, output_mean: [tokens].
        prompt_sigma, output_sigma: of the logarithm of the length.
        assumed: whether the spread is taken over from another trace.
    """

    prompt_mean: float
    output_mean: float
    prompt_sigma: float
    output_sigma: float
    assumed: bool = False


def sigma_of(mean: float, median: float) -> float:
    """Sigma of the log-normal distribution with this mean and this median."""
    return sqrt(2.0 * log(mean / median))


_CONVERSATION = sigma_of(1154.7, 1020.0), sigma_of(211.1, 129.0)

TRACES: Final[Mapping[str, TraceLengths]] = {
    "azure_conv": TraceLengths(1154.7, 211.1, *_CONVERSATION),
    "azure_code": TraceLengths(2047.8, 27.9, sigma_of(2047.8, 1500.0), sigma_of(27.9, 13.0)),
    "kimi_conv": TraceLengths(12035.1, 342.6, *_CONVERSATION, assumed=True),
    "kimi_ta": TraceLengths(8560.0, 182.1, *_CONVERSATION, assumed=True),
}
"""Published traces by name."""


def draw_stream(name: str, seed: int, count: int = REQUESTS) -> RequestStream:
    """`count` requests with the lengths of the trace called `name`, the same for the same seed."""
    lengths = TRACES[name]
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())])))
    return RequestStream(
        name,
        _lognormal(draw, lengths.prompt_mean, lengths.prompt_sigma, count),
        _lognormal(draw, lengths.output_mean, lengths.output_sigma, count),
    )


def _lognormal(draw: np.random.Generator, mean: float, sigma: float, count: int) -> Lengths:
    """Whole lengths of at least 1 whose expected value is `mean`."""
    values = np.exp(log(mean) - sigma * sigma / 2.0 + sigma * draw.standard_normal(count))
    lengths: Lengths = np.maximum(np.rint(values), 1).astype(np.int64)
    return lengths
