"""Device specs survive the way to a node; so do arrays of bf16."""

from __future__ import annotations

import numpy as np
import pytest

from node.errors import BadSheet
from node.hardware.catalog import list_products, load_product
from node.wire.arrays import bf16_bits, bf16_values
from node.wire.specs import spec_from_data, spec_from_json, spec_to_data, spec_to_json


@pytest.mark.parametrize("product", list_products())
def test_every_product_survives(product: str) -> None:
    spec = load_product(product)
    assert spec_from_json(spec_to_json(spec)) == spec


def test_what_does_not_fit_is_an_error() -> None:
    data = spec_to_data(load_product(list_products()[0]))
    with pytest.raises(BadSheet, match="kind"):
        spec_from_data({name: value for name, value in data.items() if name != "kind"})
    tier = next(iter(data["tiers"].values()))
    tier["colour"] = "red"
    with pytest.raises(BadSheet, match="colour"):
        spec_from_data(data)


def test_bf16_rounds_like_torch() -> None:
    import torch

    values = np.random.default_rng(7).standard_normal(4096).astype(np.float32)
    values[:6] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1 + 2**-8]
    theirs = torch.from_numpy(values).to(torch.bfloat16)
    ours = bf16_values(bf16_bits(values))
    assert np.array_equal(ours, theirs.float().numpy(), equal_nan=True)
