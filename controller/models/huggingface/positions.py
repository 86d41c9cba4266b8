"""Rotation of positions: theta, a linear factor, and ways of scaling that change no shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controller.models.huggingface.keys import Config
from node.hardware.rope_scaling import KINDS

SCALED = ("llama3", "yarn", "longrope", "su", "dynamic", "ntk", "mrope", "proportional")
"""Ways of scaling whose factors are numbers in a table of sines: no operand grows, no byte more is moved."""


def rotation(config: Config, kind: str = "", default_theta: float = 10_000.0) -> tuple[float, float]:
    """Theta and position factor, from the older flat keys or the newer ``rope_parameters`` (of layer type `kind`).

    Raises:
        UnknownModel: an unknown way of scaling positions.
    """
    parameters = config.mapping("rope_parameters")
    if parameters is None:
        scaling = config.mapping("rope_scaling") or {}
        return config.number("rope_theta", default_theta), _factor(config, "rope_scaling", scaling)
    if kind in parameters:
        inner = Config(config.path, parameters).mapping(kind) or {}
        return _nested(config, inner, default_theta)
    if not any(key in parameters for key in ("rope_type", "rope_theta", "type")) and parameters:
        inner = next((value for value in parameters.values() if isinstance(value, dict)), {})
        return _nested(config, inner, default_theta)
    return _nested(config, parameters, default_theta)


def _nested(config: Config, parameters: Mapping[str, Any], default_theta: float) -> tuple[float, float]:
    theta = Config(config.path, parameters).number("rope_theta", default_theta)
    return theta, _factor(config, "rope_parameters", parameters)


def _factor(config: Config, key: str, scaling: Mapping[str, Any]) -> float:
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return 1.0
    if kind in KINDS and _keeps_scaling(config, key, kind, scaling):
        return 1.0
    if kind in SCALED:
        config.note(f"{key} of type {kind}, which changes positions and neither shapes nor bytes")
        return 1.0
    if kind != "linear":
        raise config.refuse(f"{key!r} has type {kind!r}, expected 'default', 'linear' or one of {', '.join(SCALED)}")
    return Config(config.path, scaling).number("factor")


def _keeps_scaling(config: Config, key: str, kind: str, scaling: Mapping[str, Any]) -> bool:
    """Keeps what kernels need of a scaling; False where the file lacks a number of it.

    Raises:
        UnknownModel: entries that are not numbers.
    """
    inner = Config(config.path, scaling)
    whole = config.optional("original_max_position_embeddings")
    original = scaling.get("original_max_position_embeddings") or whole
    most = config.optional("max_position_embeddings")
    numbers: dict[str, Any] = {"rope_type": kind, "original_max_position_embeddings": original or most}
    if kind == "longrope":
        factor = most / original if whole and most else scaling.get("factor")
        lists = [scaling.get("short_factor"), scaling.get("long_factor")]
        if not original or factor is None or not all(isinstance(one, list) and one for one in lists):
            return False
        numbers |= {"factor": factor, "short_factor": lists[0], "long_factor": lists[1]}
    else:
        numbers["factor"] = inner.number("factor")
    if kind == "llama3":
        if not original or any(scaling.get(name) is None for name in ("low_freq_factor", "high_freq_factor")):
            return False
        numbers |= {name: inner.number(name) for name in ("low_freq_factor", "high_freq_factor")}
    for name in ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"):
        if scaling.get(name) is not None:
            numbers[name] = scaling[name]
    for name in scaling:
        if name not in (
            *numbers,
            "type",
            "rope_theta",
            "partial_rotary_factor",
            "max_position_embeddings",
            "finetuned",
        ):
            config.note(f"{key} has {name!r}, which is not read")
    config.rope_scaling = json.dumps(numbers, sort_keys=True)
    return True


def partial(config: Config, key: str, default: float = 1.0) -> None:
    """Notes that only a share of each head is rotated."""
    share = config.number(key, default)
    if share != 1.0:
        config.note(f"{key} {share:g}: the rotation is timed over whole heads")
