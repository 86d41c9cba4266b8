"""Faults from a file, and what is said of a wrong one."""

from math import inf

import pytest

from controller.errors import BadTopology
from controller.faults.file import read_faults


@pytest.fixture
def file_with(tmp_path):
    def write(text: str):
        path = tmp_path / "faults.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_declares_links_that_fail_come_back_and_slow_down(file_with):
    found = read_faults(
        file_with(
            "faults:\n"
            "  - {link: up0-1, at: 2 ms}\n"
            "  - {link: up0-2, at: 2 ms, until: 5 ms}\n"
            "  - link: gpu0.pcie-root\n    at: 0 s\n    capacity: 0.5\n"
        )
    )
    assert [(one.target.name, one.kind, one.severity, one.at_s, one.until_s) for one in found] == [
        ("up0-1", "dead", 1.0, 2e-3, inf),
        ("up0-2", "dead", 1.0, 2e-3, 5e-3),
        ("gpu0.pcie-root", "bandwidth", 0.5, 0.0, inf),
    ]
    assert found[1].where.endswith("faults.yaml:3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fault: []\n", r":1: unknown key 'fault'; did you mean 'faults'"),
        ("", r":1: a file of faults is a list below the key 'faults'; this one is empty"),
        ("- {link: a, at: 1 ms}\n", r":1: a file of faults .* is a list"),
        ("faults: []\n", r":1: no faults; write a list"),
        ("faults: {link: a}\n", r":1: no faults; write a list"),
        ("faults:\n  - up0@1 ms\n", r":2: 'up0@1 ms' is not a fault"),
        ("faults:\n  - {link: a, at: 1 ms}\n  - {link: a, form: 1 ms}\n", r":3: unknown key 'form'"),
        ("faults:\n  - {link: a}\n", r":2: 'at' is missing or is not text"),
        ("faults:\n  - {link: a, at: 5}\n", r":2: 'at' is missing or is not text"),
        ("faults:\n  - {link: a, at: 5 GB}\n", r":2: fault 'a@5 GB': "),
        ("faults:\n  - {link: a, at: 5 ms, until: 2 ms}\n", r":2: fault .* ends at 0.002 s"),
        ("faults:\n  - {link: a, at: 5 ms, capacity: 2}\n", r":2: fault .* between 0 and 1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(file_with, text, said):
    with pytest.raises(BadTopology, match=said):
        read_faults(file_with(text))
