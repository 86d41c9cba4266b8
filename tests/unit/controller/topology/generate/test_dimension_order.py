"""Tori route by dimension order: each way for itself, whatever the order of declaration."""

from __future__ import annotations

import json

import pytest

from controller.cli.main import main
from controller.topology.graph import route
from controller.topology.loader import load_topology

TORUS = """\
name: torus
fabric:
  kind: torus
  dimensions: [{dimensions}]
  host:
    switches: [router]
    devices:
      tpu: {{product: tpu_v6e}}
    links:
      - {{ends: [tpu.ici, router], bandwidth: 400 GB/s, latency: 0 s}}
    uplinks: [router]
  link: {{bandwidth: 100 GB/s, latency: 1 us}}
"""


@pytest.fixture
def torus(tmp_path):
    def made(dimensions: str):
        path = tmp_path / f"torus_{dimensions.replace(', ', 'x')}.yaml"
        path.write_text(TORUS.format(dimensions=dimensions))
        return path

    return made


def test_routes_take_the_first_dimension_first_both_ways(torus):
    loaded = load_topology(str(torus("4, 4")))
    there = [hop.head.vertex for hop in route(loaded, "tpu0", "tpu5").hops]
    back = [hop.head.vertex for hop in route(loaded, "tpu5", "tpu0").hops]
    assert there == ["router_h0", "router_h4", "router_h5", "tpu5"]
    assert back == ["router_h5", "router_h1", "router_h0", "tpu0"]
    for a in range(16):
        for b in range(16):
            taken = [hop.link.dimension for hop in route(loaded, f"tpu{a}", f"tpu{b}").hops[1:-1]]
            assert taken == sorted(taken)


@pytest.mark.parametrize("dimensions", ["2, 8", "8, 2"])
def test_a_ring_takes_as_long_in_either_order(torus, dimensions, capsys):
    words = ["collective", "all_reduce", "--topology", str(torus(dimensions)), "--algorithm", "ring", "--protocol",
             "plain", "-b", "64M", "-e", "64M", "--json"]  # fmt: skip
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    # 30 steps of 4 MiB at 100 GB/s, none beside another on a link: 1.258 ms, and 30 latencies of 1 or 2 us less.
    assert row["out_of_place"]["time"] == pytest.approx(1258, rel=0.05)
