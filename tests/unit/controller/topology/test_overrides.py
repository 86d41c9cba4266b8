"""``--set`` texts: what they change, and how they fail."""

from __future__ import annotations

import pytest

from controller.errors import BadOverride
from controller.topology.overrides import parse_overrides


def test_counts_replicate_devices_and_links(load, toy_text):
    toy = load(toy_text, "csd.count=20")
    assert [each.name for each in toy.group("csd")] == [f"csd{index}" for index in range(20)]
    assert [link.name for link in toy.links[2:]] == [f"csd{index}.pcie-root" for index in range(20)]
    assert toy.overrides == ("csd.count=20",)
    # Replicas are one spec, so that thousands cost no memory.
    assert toy.devices["csd0"].spec is toy.devices["csd19"].spec


def test_a_count_may_be_given_to_a_single_device(load, toy_text):
    assert list(load(toy_text, "gpu.count=1").devices) == ["cpu", "gpu0", "csd0", "csd1"]


def test_a_constant_of_a_group_and_of_one_member(load, toy_text):
    toy = load(toy_text, "csd.flash.read=11.2 GB/s", "csd1.flash.read = 5 GB/s")
    assert [each.spec.tiers["flash"].read_bytes_per_s for each in toy.group("csd")] == [11.2e9, 5e9]
    assert toy.devices["csd0"].spec.constants["flash.read"].kind == "assumed"


def test_overrides_of_constants_apply_in_order(load, toy_text):
    toy = load(toy_text, "csd1.flash.read=5 GB/s", "csd.flash.read=6 GB/s")
    assert [each.spec.tiers["flash"].read_bytes_per_s for each in toy.group("csd")] == [6e9, 6e9]


def test_a_product_is_replaced_before_its_constants_whatever_the_order(load, toy_text, catalog):
    sheet = (catalog / "toy_gpu.yaml").read_text()
    (catalog / "toy_gpu_large.yaml").write_text(sheet.replace("toy_gpu", "toy_gpu_large").replace("8 GiB", "80 GiB"))
    toy = load(toy_text, "gpu.hbm.read=700 GB/s", "gpu.product=toy_gpu_large")
    tier = toy.devices["gpu"].spec.tiers["hbm"]
    assert (tier.capacity_bytes, tier.read_bytes_per_s) == (80 * 2**30, 700e9)


def test_links_one_copy_or_all(load, toy_text):
    toy = load(
        toy_text,
        "link.csd.pcie-root.latency=2 us",
        "link.csd1.pcie-root.bandwidth=3 GB/s",
        "link.gpu.pcie-root.forward=1 GB/s",
    )
    links = {link.name: link for link in toy.links}
    assert links["csd0.pcie-root"].latency_s == links["csd1.pcie-root"].latency_s == 2e-6
    assert (links["csd1.pcie-root"].forward_bytes_per_s, links["csd1.pcie-root"].backward_bytes_per_s) == (3e9, 3e9)
    assert links["csd0.pcie-root"].forward_bytes_per_s == 7e9
    assert (links["gpu.pcie-root"].forward_bytes_per_s, links["gpu.pcie-root"].backward_bytes_per_s) == (1e9, 32e9)
    assert links["gpu.pcie-root"].constants["forward"].source == "override link.gpu.pcie-root.forward=1 GB/s"


def test_options(load, toy_text):
    assert load(toy_text, "options.seed=8=9").options == {"seed": "8=9"}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["csd.count"], "this is not <device>.<constant>=<value>"),
        (["count=3"], "this is not <device>.<constant>=<value>"),
        (["csd.count="], "this is not <device>.<constant>=<value>"),
        ([""], "this is not <device>.<constant>=<value>"),
        (["csd.count=2", "csd.count=3"], "csd.count is set already, by 'csd.count=2'"),
        (["csd.count=0"], "a count is a whole number from 1 to 65536, not '0'"),
        (["csd.count=-1"], "a count is a whole number"),
        (["csd.count=2.0"], "a count is a whole number"),
        (["csd.count=99999999999999999999"], "a count is a whole number"),
        (["cds.count=3"], "no device 'cds'; did you mean 'csd'?"),
        (["csd9.flash.read=3 GB/s"], "no device 'csd9'; did you mean 'csd"),
        (["csd0.count=3"], "count belongs to the whole group; write csd.count=..."),
        (["csd1.product=toy_gpu"], "product belongs to the whole group; write csd.product=..."),
        (["csd.cuont=3"], "no 'cuont'; did you mean 'count'?"),
        (["csd.flash.raed=3 GB/s"], "did you mean 'flash.read'?"),
        (["csd.flash.read=3"], "'3' has no unit"),
        (["csd.flash.read=3 us"], "bytes/s is meant"),
        (["gpu.product=toy_gup"], "did you mean 'toy_gpu'?"),
        (["gpu.product=../toy_gpu"], "'../toy_gpu' is not a product name"),
        (["link.gpu.pcie-rot.latency=1 us"], "no link 'gpu.pcie-rot'; did you mean 'gpu.pcie-root'?"),
        (["link.gpu.pcie-root.latncy=1 us"], "no 'latncy'; did you mean 'latency'?"),
        (["link.latency=1 us"], "which link? write link.<name>.latency"),
        (["link.gpu.pcie-root.latency=1"], "'1' has no unit"),
        (["link.gpu.pcie-root.bandwidth=0 B/s"], "more than 0 B/s"),
        (["options.sed=1"], "no option 'sed'; did you mean 'seed'?"),
    ],
)
def test_a_wrong_override_says_which_and_why(load, toy_text, texts, words):
    with pytest.raises(BadOverride) as caught:
        load(toy_text, *texts)
    assert str(caught.value).startswith(f"--set {texts[-1]!r}: ")
    assert words in str(caught.value)


def test_parse_splits_at_the_first_dot_and_equals_sign():
    (override,) = parse_overrides(["link.csd0.pcie-root.latency = 1 us"])
    assert (override.target, override.path, override.value) == ("link", "csd0.pcie-root.latency", "1 us")
    assert not override.structural
