"""The section `prices` of a topology file, and the options that it replaced."""

from pathlib import Path

import pytest

from controller.errors import BadOverride, BadTopology
from controller.topology.loader import load_topology

BOX = """\
name: box
hosts:
  desk:
    devices: {gpu: {product: rtx_4090}}
"""


@pytest.fixture
def box(tmp_path: Path):
    def load(more: str = "", *overrides: str):
        path = tmp_path / "box.yaml"
        path.write_text(BOX + more)
        return load_topology(path, overrides)

    return load


def test_prices_are_typed_can_be_overridden_and_change_no_digest(box) -> None:
    declared = box("prices:\n  rtx_4090: 0.69 USD/h\n  h20: {value: 4.63 USD/h, kind: datasheet, source: a table}\n")
    assert declared.rent_usd_per_hour == {"rtx_4090": 0.69, "h20": 4.63}
    assert box("", "prices.rtx_4090=1 USD/h").rent_usd_per_hour == {"rtx_4090": 1.0}
    assert box().digest == declared.digest


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("prices: {rtx_4900: 1 USD/h}\n", r":5: no product 'rtx_4900'; did you mean 'rtx_4090'"),
        ("prices: {rtx_4090: 1}\n", r":5: .*'1' has no unit; write for example '1 USD/h'"),
        ("prices: {rtx_4090: 1 EUR/h}\n", r":5: .*unknown unit 'EUR/h'"),
        ("prices: {rtx_4090: -1 USD/h}\n", r":5: .*negative"),
        ("options: {price.rtx_4090: '0.69'}\n", r":5: prices are no option: write 'prices: {rtx_4090: 0.69 USD/h}'"),
        ("options: {faults: 'a@1 ms'}\n", r":5: faults are no option .* --fail 'a@1 ms', or in a file with --faults"),
    ],
)
def test_a_wrong_price_or_an_option_of_before_is_refused_with_its_line(box, more: str, said: str) -> None:
    with pytest.raises(BadTopology, match=said):
        box(more)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("prices.rtx_4900=1 USD/h", "did you mean 'rtx_4090'"),
        ("prices.rtx_4090=1", "has no unit"),
        ("options.price.rtx_4090=2", "write --set prices.rtx_4090='2 USD/h'"),
    ],
)
def test_a_wrong_override_of_a_price_is_refused(box, override: str, said: str) -> None:
    with pytest.raises(BadOverride, match=said):
        box("", override)
