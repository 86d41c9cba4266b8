"""Every number of every shipped sheet says where it comes from, and no sheet contradicts itself."""

import pytest

from node.hardware.catalog import list_products, load_product
from node.hardware.units import parse

PRODUCTS = list_products()


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_constant_has_a_source(product):
    spec = load_product(product)
    assert spec.product == product
    assert spec.constants
    for path, constant in spec.constants.items():
        assert constant.path == path
        assert constant.kind in ("datasheet", "measured", "assumed")
        assert len(constant.source) > 10, f"{product}: {path} has the source {constant.source!r}"
        if constant.kind == "assumed":
            assert len(constant.source.split()) >= 4, f"{product}: {path} is assumed without a reason"


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_device_can_be_used(product):
    spec = load_product(product)
    assert spec.ports, "a device without a port reaches nothing"
    if spec.kind == "nic":
        assert not (spec.tiers or spec.computes or spec.queues), "a nic has ports and nothing else"
        return
    assert spec.tiers, "a device without memory holds no buffer"
    if spec.computes:
        assert spec.compute_queue is not None, "a compute unit without a queue runs nothing"
    else:
        assert spec.compute_queue is None
    if spec.kind in ("gpu", "npu"):
        assert "tensor" in spec.computes
        assert any(queue.kind == "copy" for queue in spec.queues.values())


@pytest.mark.parametrize("product", PRODUCTS)
def test_figures_are_plausible(product):
    """Catches a slip of the pen by a factor of a thousand or eight."""
    spec = load_product(product)
    for tier in spec.tiers.values():
        assert parse("1 GB", "bytes") <= tier.capacity_bytes <= parse("64 TB", "bytes")
        assert parse("0.5 GB/s", "bytes/s") <= tier.write_bytes_per_s <= parse("20 TB/s", "bytes/s")
        assert tier.write_bytes_per_s <= tier.read_bytes_per_s <= parse("20 TB/s", "bytes/s")
    for port in spec.ports.values():
        assert parse("1 GB/s", "bytes/s") <= port.read_bytes_per_s <= parse("2 TB/s", "bytes/s")
        if port.pageable_bytes_per_s is not None:
            assert port.pageable_bytes_per_s <= port.read_bytes_per_s
    for unit in spec.computes.values():
        for dtype, peak in unit.peak_flop_per_s.items():
            assert parse("1 GFLOP/s", "FLOP/s") <= peak <= parse("20 PFLOP/s", "FLOP/s"), dtype
        peaks = unit.peak_flop_per_s
        if "bf16" in peaks and "fp32" in peaks:
            assert peaks["fp32"] <= peaks["bf16"]


def test_the_cards_that_join_hosts_are_there_with_what_messages_need():
    for product in ("connectx6", "connectx7", "slingshot11", "efa_p4d", "efa_p5", "efa_p5en", "huawei_ub"):
        spec = load_product(product)
        assert spec.kind == "nic"
        port = next(iter(spec.ports.values()))
        assert port.latency_s > 0
        known = {path.removeprefix(f"{port.name}.") for path in spec.constants}
        assert known & {"message", "half", "sustained"}, f"{product} says nothing about short or long messages"
