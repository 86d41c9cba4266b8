"""Sheets are found, read and overridden; what is wrong with one is said with file, line and the nearest key."""

import pytest

from node.errors import BadName, BadSheet, UnknownProduct
from node.hardware.catalog import apply_overrides, list_products, load_product
from node.hardware.reader import read_sheet

SHEET = """\
product: tiny
kind: gpu
description: a chip for tests
tiers:
  hbm:
    storage: dram
    capacity: {value: 1 GiB, kind: assumed, source: made up}
    read: {value: 100 GB/s, kind: assumed, source: made up}
compute:
  tensor:
    peak: {fp16: {value: 1 TFLOP/s, kind: assumed, source: made up}}
    constants:
      sm_count: {value: 4, kind: assumed, source: made up}
queues:
  stream: {kind: compute, launch: {value: 2 us, kind: assumed, source: made up}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SHEET)
    return tmp_path


def broken(folder, old, new):
    text = (folder / "tiny.yaml").read_text()
    assert old in text
    (folder / "tiny.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(BadSheet) as refusal:
        load_product("tiny", [folder])
    return str(refusal.value)


def test_a_sheet_becomes_a_spec_in_base_units(folder):
    spec = load_product("tiny", [folder])
    tier = spec.tiers["hbm"]
    assert (tier.capacity_bytes, tier.read_bytes_per_s, tier.write_bytes_per_s) == (2**30, 100e9, 100e9)
    assert spec.computes["tensor"].peak_flop_per_s == {"fp16": 1e12}
    assert spec.computes["tensor"].constants == {"sm_count": 4.0}
    assert spec.compute_queue.launch_s == 2e-6
    constant = spec.constants["tensor.peak.fp16"]
    assert (constant.text, constant.kind, constant.source) == ("1 TFLOP/s", "assumed", "made up")


@pytest.mark.parametrize("value", ["[1, 2]", "{a: 1}", "null", "true", "[[]]", "3.5"])
@pytest.mark.parametrize("key", ["capacity", "read"])
def test_a_value_that_is_no_quantity(folder, key, value):
    old = {"capacity": "1 GiB", "read": "100 GB/s"}[key]
    said = broken(folder, f"{{value: {old}", f"{{value: {value}")
    assert f"hbm.{key}" in said and "tiny.yaml:" in said


def test_folders_of_the_user_come_first(tmp_path):
    mine = SHEET.replace("product: tiny", "product: rtx_a6000")
    (tmp_path / "rtx_a6000.yaml").write_text(mine)
    assert load_product("rtx_a6000", [tmp_path]).description == "a chip for tests"
    assert load_product("rtx_a6000").description != "a chip for tests"
    assert "xeon_5320" in list_products([tmp_path])


def test_products_are_listed_in_order_with_those_of_the_user(folder):
    names = list_products([folder])
    assert "tiny" in names
    assert list(names) == sorted(names)
    assert "tiny" not in list_products()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("storage: dram", "storaeg: dram", "tiny.yaml:6: unknown key 'storaeg'; did you mean 'storage'"),
        ("sm_count:", "sm_cuont:", "tiny.yaml:13: unknown key 'sm_cuont'; did you mean 'sm_count'"),
        ("100 GB/s, kind", "100, kind", "tiny.yaml:8: hbm.read: 100 has no unit"),
        ("100 GB/s", "100 GB", "tiny.yaml:8: hbm.read: '100 GB' is in bytes"),
        ("100 GB/s", "0 GB/s", "must be more than 0"),
        ("kind: assumed, source: made up}\n    read", "source: made up}\n    read", "tiny.yaml:7: 'kind' is missing"),
        ("value: 1 GiB, kind: assumed", "value: 1 GiB, kind: guessed", "kind is 'guessed'"),
        (", source: made up}\ncompute", ", source: ''}\ncompute", "tiny.yaml:8: source must be text"),
        ("{value: 1 GiB, kind: assumed, source: made up}", "1 GB/s", "tiny.yaml:7: hbm.capacity: '1 GB/s' is in"),
        ("{value: 1 GiB, kind: assumed, source: made up}", "[1 GiB]", "tiny.yaml:7: hbm.capacity is ['1 GiB']"),
        ("kind: gpu", "kind: toaster", "tiny.yaml:2: kind is 'toaster'; one of gpu, cpu, cxl, csd, npu, nic"),
        ("description:", "descriptoin:", "unknown key 'descriptoin'; did you mean 'description'"),
        ("    capacity: {value: 1 GiB, kind: assumed, source: made up}\n", "", "tiny needs hbm.capacity"),
        ("product: tiny", "product: [tiny", "tiny.yaml:2: not YAML"),
        ("product: tiny", "product: huge", "product is 'huge', but the file is called 'tiny'"),
        ("  stream:", "  hbm:", "two parts are called 'hbm'"),
        ("value: 4,", "value: 4.5,", "whole number"),
    ],
)  # fmt: skip
def test_a_wrong_sheet_is_refused_with_its_place(folder, old, new, said):
    assert said in broken(folder, old, new)


def test_an_efficiency_above_one_is_refused(folder):
    text = "sm_count: {value: 4, kind: assumed, source: made up}"
    said = broken(folder, text, "gemm_efficiency: {value: 90, kind: assumed, source: made up}")
    assert "gemm_efficiency is 90" in said


@pytest.mark.parametrize("name", ["", "../secret", "a/b", "RTX", ".hidden", "x" * 65, "a.yaml"])
def test_a_name_that_could_leave_the_folder_is_refused(name):
    with pytest.raises(BadName):
        load_product(name)


def test_an_unknown_product_says_the_nearest():
    with pytest.raises(UnknownProduct, match="did you mean 'rtx_a6000'"):
        load_product("rtx_a600")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnknownProduct, match="does not exist"):
        load_product("rtx_a6000", [tmp_path / "nowhere"])


def test_an_override_is_assumed_and_changes_only_its_constant():
    before = load_product("instinfer_csd")
    after = apply_overrides(before, {"flash.read": "22.4 GB/s"})
    assert after.tiers["flash"].read_bytes_per_s == 22.4e9
    assert (after.constants["flash.read"].kind, after.constants["flash.read"].source) == ("assumed", "override")
    assert after.constants["flash.read"].text == "22.4 GB/s"
    assert {path for path in after.constants if after.constants[path] != before.constants[path]} == {"flash.read"}
    assert before.tiers["flash"].read_bytes_per_s == 11.2e9


def test_an_override_may_add_what_the_sheet_left_out(folder):
    spec = apply_overrides(load_product("tiny", [folder]), {"hbm.total": "150 GB/s", "tensor.gemm_efficiency": "0.9"})
    assert spec.tiers["hbm"].total_bytes_per_s == 150e9
    assert spec.computes["tensor"].constants["gemm_efficiency"] == 0.9


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("flash.raed", "1 GB/s", "did you mean 'flash.read'"),
        ("hbm.read", "1 GB/s", "has no constant 'hbm.read'"),
        ("flash.read", "11.2", "has no unit"),
        ("flash.read", "0 GB/s", "must be more than 0"),
        ("flash.page", "0.5 B", "whole number"),
    ],
)
def test_a_wrong_override_is_refused(path, text, said):
    with pytest.raises(BadSheet) as refusal:
        apply_overrides(load_product("instinfer_csd"), {path: text})
    assert said in str(refusal.value)


HOSTILE = {
    "merged into itself": "a: &a\n  <<: *a\n",
    "levels": "a: " + "{a: " * 1000 + "1" + "}" * 1000,
    "digits": "a: " + "9" * 5000,
    "bits": "a: 0x" + "f" * 6000,
    "entries": "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
}


@pytest.mark.parametrize("says", HOSTILE)
def test_hostile_yaml_is_refused_with_a_sentence(says: str) -> None:
    with pytest.raises(BadSheet, match=says):
        read_sheet(HOSTILE[says], "x.yaml")


@pytest.mark.parametrize("override", [{"hbm.capacity": "1e300 TB"}, {"hbm.read": "1e-300 B/s"}])
def test_what_no_hardware_has_is_refused_with_its_range(override: dict[str, str]) -> None:
    with pytest.raises(BadSheet, match="must lie between"):
        apply_overrides(load_product("rtx_a6000"), override)


NIC = """\
product: tiny_nic
kind: nic
description: a card for tests
ports:
  nic:
    read: {value: 100 Gb/s, kind: assumed, source: made up}
    half: {value: 125 B, kind: assumed, source: made up}
"""


def test_a_nic_has_ports_and_nothing_else():
    spec = read_sheet(NIC, "x.yaml")
    assert (spec.kind, tuple(spec.ports), spec.tiers, spec.computes) == ("nic", ("nic",), {}, {})
    assert spec.constants["nic.half"].value == 125


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHEET.replace("kind: gpu", "kind: nic"), "tiny is a nic and has hbm, tensor, stream"),
        (NIC[: NIC.index("ports:")], "a nic without a port"),
        (NIC + "    message: {value: 10 ns, kind: assumed, source: made up}\n", "both `message` and `half`"),
    ],
)
def test_a_nic_that_cannot_be_is_refused(text, said):
    with pytest.raises(BadSheet) as refusal:
        read_sheet(text, "x.yaml")
    assert said in str(refusal.value)


def test_a_value_alone_is_assumed_with_its_line_as_source():
    spec = read_sheet(SHEET.replace("{value: 1 GiB, kind: assumed, source: made up}", "1 GiB"), "x.yaml")
    constant = spec.constants["hbm.capacity"]
    assert (constant.value, constant.kind, constant.source) == (1 << 30, "assumed", "declared in x.yaml:7")
