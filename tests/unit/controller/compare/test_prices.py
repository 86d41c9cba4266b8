"""Prices: published ones with a source, and none made up."""

from __future__ import annotations

from importlib import resources

from ruamel.yaml import YAML

from controller.compare.prices import prices, purchase, rent
from controller.topology.loader import load_topology
from node.hardware.catalog import list_products


def test_every_price_is_of_a_product_and_has_a_source() -> None:
    text = resources.files("controller.compare").joinpath("prices.yaml").read_text()
    for product, entry in YAML(typ="safe").load(text).items():
        assert product in list_products()
        for price in entry.values():
            assert set(price) == {"value", "kind", "source"}
            assert price["value"] > 0
            assert len(price["source"]) > 10


def test_a_bill_counts_what_was_used_and_names_what_has_no_price() -> None:
    topology = load_topology("a6000_2csd")
    bill = purchase(topology, frozenset(("cpu", "csd0", "csd1", "gpu")))
    assert bill.usd == prices()["xeon_5320"].purchase_usd + 2 * prices()["instinfer_csd"].purchase_usd
    assert bill.unpriced == ("rtx_a6000",)
    assert rent(topology, frozenset(("cpu",))).usd is None
