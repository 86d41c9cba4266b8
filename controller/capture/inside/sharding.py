"""Shorter ways to what DTensor finds out about lists of tensors.

An operation over a list (``_foreach_*``) treats its places apart, and most places of an optimizer's lists look alike.
DTensor asks for each of them, and anew in every step, since its cache looks at numbers among the arguments. Here it is
asked once for places that differ, and what it says is dealt out to all that are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed.tensor as tensor_module
from torch.distributed.tensor._dtensor_spec import DTensorSpec

LISTS = "aten._foreach_"
NUMBERS = (int, float, bool)


def install_sharding() -> None:
    """Puts the cache before DTensor's propagation."""
    dtensor: Any = tensor_module.DTensor
    propagator = dtensor._op_dispatcher.sharding_propagator
    ask = propagator.propagate_op_sharding_non_cached
    known: dict[Any, Any] = {}

    def propagate(schema: Any) -> Any:
        if not str(schema.op).startswith(LISTS) or schema.kwargs_schema:
            return ask(schema)
        cut = _distinct(schema.args_schema)
        if cut is None:
            return ask(schema)
        places, where = cut
        shorter = tuple(
            type(each)(each[place] for place in places) if isinstance(each, list | tuple) else each
            for each in schema.args_schema
        )
        key = (str(schema.op), tuple(map(_without_numbers, shorter)))
        found = known.get(key)
        if found is None:
            asked = type(schema)(schema.op, shorter, {}, schema_info=schema.schema_info)
            found = known[key] = ask(asked)
        if found.needs_redistribute or found.redistribute_schema is not None:
            return ask(schema)
        specs = found.output_spec
        if isinstance(specs, list | tuple):
            if len(specs) != len(places):
                return ask(schema)
            specs = type(specs)(specs[place] for place in where)
        elif specs is not None:
            return ask(schema)
        return type(found)(specs)

    propagator.propagate_op_sharding_non_cached = propagate
    cached: Any = type(propagator.propagate_op_sharding)
    propagator.propagate_op_sharding = cached(propagate)


def _distinct(arguments: Sequence[Any]) -> tuple[list[int], list[int]] | None:
    """Places that stand for all, and which of them stands for each; None where lists are of unequal lengths."""
    lists = [each for each in arguments if isinstance(each, list | tuple)]
    if not lists or any(len(each) != len(lists[0]) for each in lists):
        return None
    numbers: dict[Any, int] = {}
    places: list[int] = []
    where: list[int] = []
    for place in range(len(lists[0])):
        look = tuple(_without_numbers(each[place]) for each in lists)
        if look not in numbers:
            numbers[look] = len(places)
            places.append(place)
        where.append(numbers[look])
    return places, where


def _without_numbers(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_without_numbers, value))
    if isinstance(value, DTensorSpec):
        return (value, value.tensor_meta)
    return type(value) if isinstance(value, NUMBERS) else value
