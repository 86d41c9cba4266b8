"""Messages over NICs and links against LogGP and its limits."""

import dataclasses

import pytest

from node.hardware.catalog import list_products, load_product
from node.hardware.link import Channel, channel_of

WIRE = Channel(25e9, latency_s=2e-6, message_s=100e-9, payload_bytes=4096, header_bytes=30)
DIRECTIONS = [
    (product, port, leaving)
    for product in list_products()
    for port in load_product(product).ports
    for leaving in (True, False)
]


def test_one_message_is_latency_and_its_packets():
    assert WIRE.time_s(4096) == pytest.approx(2e-6 + 4126 / 25e9)
    assert WIRE.time_s(4097) == pytest.approx(2e-6 + (4097 + 60) / 25e9)


def test_a_short_message_takes_the_gap():
    assert WIRE.time_s(0) == pytest.approx(2e-6 + 100e-9)
    assert WIRE.time_s(8) == WIRE.time_s(0)


def test_back_to_back_messages_start_a_gap_apart():
    thousand = WIRE.time_s(8, 1000, 1000)
    assert thousand == pytest.approx(2e-6 + 1000 * 100e-9)


def test_one_at_a_time_pays_every_latency():
    assert WIRE.time_s(2**20, 10, 1) == pytest.approx(10 * WIRE.time_s(2**20))


def test_more_in_flight_is_never_slower_and_never_beats_the_wire():
    times = [WIRE.time_s(4096, 64, depth) for depth in (1, 2, 4, 16, 64)]
    assert times == sorted(times, reverse=True)
    assert times[-1] >= 64 * 4096 / 25e9


@pytest.mark.parametrize(("product", "port", "leaving"), DIRECTIONS)
def test_no_message_is_faster_than_its_port(product, port, leaving):
    spec = load_product(product)
    channel = channel_of(spec, port, leaving)
    line = spec.ports[port].read_bytes_per_s if leaving else spec.ports[port].write_bytes_per_s
    sizes = [0, 1, 4096, 2**20, 2**30]
    times = [channel.time_s(size) for size in sizes]
    assert times == sorted(times)
    for size, taken in zip(sizes, times, strict=True):
        assert taken >= spec.ports[port].latency_s + size / line
    assert 2**30 / channel.time_s(2**30) >= 0.5 * line
    faster = dataclasses.replace(channel, bytes_per_s=2 * channel.bytes_per_s)
    assert faster.time_s(2**20) <= channel.time_s(2**20)


def test_half_of_the_rate_at_the_size_that_says_so():
    spec = load_product("connectx7")
    constants = {**spec.constants, "nic.half": dataclasses.replace(spec.constants["nic.payload"], value=5000.0)}
    del constants["nic.message"], constants["nic.header"]
    channel = channel_of(dataclasses.replace(spec, constants=constants), "nic")
    for size, reached in ((5000, 25e9), (10_000, 50e9), (20_000, 50e9)):
        assert size * 10**6 / channel.time_s(size, 10**6, 10**6) == pytest.approx(reached, rel=1e-3)


def test_a_measured_rate_stands_before_the_line():
    channel = channel_of(load_product("huawei_ub"), "ub")
    assert channel.bytes_per_s == 135e9
    assert channel.time_s(512) == pytest.approx(2.1e-6, rel=5e-3)


def test_a_port_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError):
        channel_of(load_product("connectx7"), "nvlink")
