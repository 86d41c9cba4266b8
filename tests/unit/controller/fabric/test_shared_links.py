"""Both directions of a shared link take turns: alone a flow has all of it."""

import pytest

from controller.errors import BadTopology
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.topology.loader import load_topology

TOPOLOGY = """\
name: two
hosts:
  a_host: {devices: {a: {product: h100_sxm}}}
  b_host: {devices: {b: {product: h100_sxm}}}
links:
  - {ends: [a.pcie, b.pcie], name: bus, bandwidth: 100 MB/s, latency: 1 ms, shared: true}
"""


def seconds(tmp_path, ways: int, declared: str = TOPOLOGY) -> float:
    (tmp_path / "two.yaml").write_text(declared)

    def go(run):
        build = PlanBuilder("both")
        for number, (source, target) in enumerate((("a", "b"), ("b", "a"))[:ways]):
            ends = [Buffer(each, "hbm", f"{each}{number}", "int8", (100_000_000,)) for each in (source, target)]
            for index, end in enumerate(ends):
                run.place(end, written=index == 0)
            build.transfer(*ends)
        yield run.submit(build.plan())

    return run_virtual(load_topology(tmp_path / "two.yaml"), [go]).time_s


@pytest.mark.parametrize(("ways", "expected"), [(1, 1.001), (2, 2.001)])
def test_flows_of_both_directions_share(tmp_path, ways, expected):
    assert seconds(tmp_path, ways) == pytest.approx(expected, rel=1e-3)
    duplex = TOPOLOGY.replace(", shared: true", "")
    assert seconds(tmp_path, ways, duplex) == pytest.approx(1.001, rel=1e-3)


def test_a_shared_link_has_one_bandwidth(tmp_path):
    text = TOPOLOGY.replace("bandwidth: 100 MB/s", "forward: 100 MB/s, backward: 50 MB/s")
    with pytest.raises(BadTopology, match=r"two\.yaml:6: .*a shared link has one bandwidth"):
        seconds(tmp_path, 1, text)


def test_sharing_is_part_of_the_digest(tmp_path):
    digests = []
    for text in (TOPOLOGY, TOPOLOGY.replace(", shared: true", "")):
        (tmp_path / "two.yaml").write_text(text)
        digests.append(load_topology(tmp_path / "two.yaml").digest)
    assert digests[0] != digests[1]
