"""The table of engine surfaces, for ``serve --surface``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from controller.errors import BadWorkload
from controller.nearest import nearest
from controller.serving.iteration_times import IterationTimes
from controller.serving.surfaces.distserve import CONSTANTS, DistServeSurface
from controller.serving.surfaces.llumnix import KV_TOKENS, LlumnixSurface
from controller.serving.surfaces.sarathi import mistral_7b, yi_34b


@dataclass(frozen=True, slots=True)
class SurfaceEntry:
    """One surface.

    Attributes:
        name: what the command line calls it.
        summary: engine, model, device and source.
        make: times of its iterations.
        kv_tokens: of the KV cache of an instance there; 0 where it is not published.
    """

    name: str
    summary: str
    make: Callable[[], IterationTimes]
    kv_tokens: int = 0


_DISTSERVE: Final = "arXiv 2401.09670, A100 80 GB"

SURFACES: Final[Mapping[str, SurfaceEntry]] = {
    entry.name: entry
    for entry in (
        SurfaceEntry("sarathi_mistral_7b", "Mistral-7B on an A100 80 GB, arXiv 2403.02310", mistral_7b),
        SurfaceEntry("sarathi_yi_34b", "Yi-34B on two A100 80 GB, arXiv 2403.02310", yi_34b),
        SurfaceEntry("llumnix_llama_7b", "LLaMA-7B under vLLM on an A10, arXiv 2406.03243", LlumnixSurface, KV_TOKENS),
        *(
            SurfaceEntry(
                f"{engine}_opt_{model}_tp{tp}", f"OPT-{model} over {tp} GPUs under {engine}, {_DISTSERVE}",
                partial(DistServeSurface, engine, model, tp), constants.kv_tokens,
            )
            for (engine, model, tp), constants in CONSTANTS.items()
        ),
    )
}  # fmt: skip
"""By name."""


def load_surface(name: str) -> SurfaceEntry:
    """The surface called `name`.

    Raises:
        BadWorkload: there is none; names the nearest one.
    """
    if name in SURFACES:
        return SURFACES[name]
    hint = nearest(name, SURFACES)
    raise BadWorkload(f"no engine surface {name!r}; {hint}")
