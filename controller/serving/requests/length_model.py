"""How long requests are: ``in=1024,out=256``, ``lognormal:in=1155/1020,out=211/129``, or a published distribution.

A log-normal length is given by its mean and its median; one with a mean alone takes the spread `SPREAD`. Published
distributions are pieces between printed quantiles, log-linear from quantile to quantile, whose last piece ends where
the printed mean is met, or log-normal where a paper prints mean and median.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import log, sqrt
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from controller.errors import BadWorkload
from controller.workload.lengths import TRACES

TokenCounts = npt.NDArray[np.int64]
SPREAD: Final = 1.0
"""Sigma of the logarithm where only a mean is given (assumed)."""


class TokenLengths(Protocol):
    """Lengths of one side of a request."""

    def draw(self, count: int, draw: np.random.Generator) -> TokenCounts:
        """`count` lengths of at least 1 [tokens] (n)."""


@dataclass(frozen=True, slots=True)
class FixedLength:
    """Every request is as long."""

    tokens: int

    def draw(self, count: int, draw: np.random.Generator) -> TokenCounts:
        return np.full(count, self.tokens, np.int64)


@dataclass(frozen=True, slots=True)
class LogNormalLength:
    """Log-normal lengths.

    Attributes:
        mean: [tokens].
        sigma: of the logarithm.
        most: longest [tokens]; 0 for no bound.
    """

    mean: float
    sigma: float
    most: int = 0

    def draw(self, count: int, draw: np.random.Generator) -> TokenCounts:
        values = np.exp(log(self.mean) - self.sigma**2 / 2 + self.sigma * draw.standard_normal(count))
        return _whole(values, self.most)


@dataclass(frozen=True, slots=True)
class QuantileLength:
    """Lengths by printed quantiles.

    Attributes:
        mean: [tokens].
        quantiles: (probability, tokens), rising.
        most: longest [tokens].
    """

    mean: float
    quantiles: tuple[tuple[float, float], ...]
    most: float

    def draw(self, count: int, draw: np.random.Generator) -> TokenCounts:
        shares = np.array([0.0, *(share for share, _ in self.quantiles), 1.0])
        ends = np.log([self._least(), *(tokens for _, tokens in self.quantiles), self.most])
        return _whole(np.exp(np.interp(draw.random(count), shares, ends)), 0)

    def _least(self) -> float:
        """Start of the first piece, with which the mean is as printed as far as one token or the median allow."""
        share, first = self.quantiles[0]
        rest, before = 0.0, (share, first)
        for after in (*self.quantiles[1:], (1.0, self.most)):
            rest += (after[0] - before[0]) * _log_mean(before[1], after[1])
            before = after
        wanted = (self.mean - rest) / share
        low, high = 1.0, first
        for _ in range(60):
            middle = sqrt(low * high)
            low, high = (middle, high) if _log_mean(middle, first) < wanted else (low, middle)
        return low


def _log_mean(low: float, high: float) -> float:
    """Mean of a length that is log-uniform from `low` to `high`."""
    return low if high <= low * (1 + 1e-12) else (high - low) / log(high / low)


def _whole(values: npt.NDArray[np.float64], most: int) -> TokenCounts:
    found: TokenCounts = np.maximum(np.rint(values), 1).astype(np.int64)
    return np.minimum(found, most) if most else found


@dataclass(frozen=True, slots=True)
class RequestLengths:
    """Prompt and output of a request, drawn independently.

    Attributes:
        prompt, output: lengths of either.
        name: what reports call them.
        source: where they are printed, and what is assumed of them.
        most_total: longest request; longer ones are drawn again as shorter prompts; 0 for no bound [tokens].
    """

    prompt: TokenLengths
    output: TokenLengths
    name: str
    source: str = ""
    most_total: int = 0


def _by_means(prompt: float, output: float, spread: float = SPREAD) -> tuple[LogNormalLength, LogNormalLength]:
    return LogNormalLength(prompt, spread), LogNormalLength(output, spread)


_LLUMNIX = "Llumnix, OSDI 2024 (arXiv 2406.03243), table 1: mean and quantiles; log-linear between them"
_DISTSERVE = "DistServe, OSDI 2024 (arXiv 2401.09670), figure 7: means; log-normal with sigma 1 (assumed)"
_GENERATED_MOST = 6144


def _generated(mean: float, *tokens: float) -> QuantileLength:
    return QuantileLength(mean, tuple(zip((0.5, 0.8, 0.95, 0.99), tokens, strict=True)), _GENERATED_MOST)


_SHORT, _MEDIUM, _LONG = (
    _generated(128, 38, 113, 413, 1464), _generated(256, 32, 173, 1288, 4208), _generated(512, 55, 582, 3113, 5166)
)  # fmt: skip


def _table() -> dict[str, RequestLengths]:
    found = {
        "sharegpt": RequestLengths(*_by_means(755.5, 200.3), "sharegpt", _DISTSERVE),
        "humaneval": RequestLengths(*_by_means(171.3, 98.2), "humaneval", _DISTSERVE),
        "longbench": RequestLengths(*_by_means(1738.3, 90.7), "longbench", _DISTSERVE),
        "sharegpt_gpt4": RequestLengths(
            QuantileLength(306, ((0.5, 74), (0.8, 348), (0.95, 1484), (0.99, 3388)), 6144),
            QuantileLength(500, ((0.5, 487), (0.8, 781), (0.95, 988), (0.99, 1234)), 2048),
            "sharegpt_gpt4", _LLUMNIX,
        ),
        "burstgpt": RequestLengths(
            QuantileLength(830, ((0.5, 582), (0.8, 1427), (0.95, 2345), (0.99, 3549)), 6144),
            QuantileLength(271, ((0.5, 243), (0.8, 434), (0.95, 669), (0.99, 964)), 2048), "burstgpt", _LLUMNIX,
        ),
        "lmsys": RequestLengths(
            LogNormalLength(102, sqrt(log(1 + (169 / 102) ** 2))),
            LogNormalLength(222, sqrt(log(1 + (210 / 222) ** 2))),
            "lmsys", "NanoFlow (arXiv 2408.12757): mean and standard deviation; log-normal",
        ),
        "openchat_sharegpt4": RequestLengths(
            LogNormalLength(1730 * np.exp(0.5), 1.0, 8192), LogNormalLength(415 * np.exp(0.125), 0.5, 2048),
            "openchat_sharegpt4",
            "Sarathi-Serve, OSDI 2024 (arXiv 2403.02310): median prompt 1730, at most 8192 tokens; spread 1.0 and "
            "answers with a median of 415 and a spread of 0.5 (assumed)",
            8192,
        ),
        "arxiv_summarization": RequestLengths(
            LogNormalLength(7059 * np.exp(0.08), 0.4, 16384), LogNormalLength(208 * np.exp(0.125), 0.5, 2048),
            "arxiv_summarization",
            "Sarathi-Serve, OSDI 2024 (arXiv 2403.02310): median prompt 7059, at most 16384 tokens; spread 0.4 and "
            "answers with a median of 208 and a spread of 0.5 (assumed)",
            16384,
        ),
    }  # fmt: skip
    for first, prompt in (("s", _SHORT), ("m", _MEDIUM), ("l", _LONG)):
        for second, output in (("s", _SHORT), ("m", _MEDIUM), ("l", _LONG)):
            name = f"llumnix_{first}_{second}"
            found[name] = RequestLengths(prompt, output, name, _LLUMNIX + "; generated, at most 6K (power law)")
    for name, trace in TRACES.items():
        found[name] = RequestLengths(
            LogNormalLength(trace.prompt_mean, trace.prompt_sigma),
            LogNormalLength(trace.output_mean, trace.output_sigma), name,
            "means of Lamina (arXiv 2405.01814), table 4; spread of Splitwise" + " (assumed)" * trace.assumed,
        )  # fmt: skip
    return found


PUBLISHED: Final[Mapping[str, RequestLengths]] = _table()
"""Published distributions by name."""


def read_lengths(text: str) -> RequestLengths:
    """The lengths that a text means.

    Raises:
        BadWorkload: neither a published name nor ``in=..,out=..``.
    """
    if text in PUBLISHED:
        return PUBLISHED[text]
    kind, colon, rest = text.partition(":")
    parts = dict(part.partition("=")[::2] for part in (rest if colon else text).split(","))
    if set(parts) != {"in", "out"} or kind not in ("lognormal", text):
        close = get_close_matches(text, PUBLISHED, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise BadWorkload(
            f"lengths {text!r} are neither published nor of the form in=1024,out=256 or "
            f"lognormal:in=1155/1020,out=211; {hint}there are {', '.join(PUBLISHED)}"
        )
    if not colon:
        return RequestLengths(FixedLength(_tokens(text, parts["in"])), FixedLength(_tokens(text, parts["out"])), text)
    return RequestLengths(_log_normal(text, parts["in"]), _log_normal(text, parts["out"]), text)


def _tokens(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= 10**9):
        raise BadWorkload(f"lengths {text!r}: {value!r} is no whole number of at least 1 token")
    return int(value)


def _log_normal(text: str, value: str) -> LogNormalLength:
    mean_text, slash, median_text = value.partition("/")
    try:
        mean, median = float(mean_text), float(median_text) if slash else 0.0
    except ValueError:
        mean = median = -1.0
    if not 1 <= mean < 1e9 or (slash and not 0 < median <= mean):
        raise BadWorkload(f"lengths {text!r}: {value!r} is no mean, or mean/median with a median of at most the mean")
    return LogNormalLength(mean, sqrt(2 * log(mean / median)) if slash else SPREAD)
