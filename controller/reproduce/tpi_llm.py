"""TPI-LLM: why a star wins among edge devices.

Source: arXiv 2410.00531, section 3.2 and its appendix. Its example counts links: eight devices behind a gateway each,
two links from a device to the core router, a delay of tau a link: 8 tau for a star, 16 tau for a tree of depth two, 56
tau for a ring. Its closed forms for three devices with a dedicated link for every pair count how often the data and a
link are paid. Both are taken here as what one more second of link delay, or of sending the data, adds to the time of
the whole plan, so that nothing else that the devices cost can blur them. The tree's three-device form (3 t_data) sends
and receives at once within one message, which a plan of whole messages does not; it is absent.

All of them count how often a declared delay is paid, so they are `identity`: they hold of any right schedule.

The share of time that the devices need for adding and for barriers is theirs, and no target.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.collectives.all_reduce_ring import ring
from controller.collectives.all_reduce_star import star
from controller.collectives.all_reduce_tree import tree
from controller.collectives.call import Call
from controller.collectives.exchange import Exchange
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import MeasuredCall, measure, plan_of
from controller.collectives.table import Algorithm
from controller.reproduce.rows import Paper, PublishedRow, Results, identities
from controller.topology.loader import load_topology

HIDDEN = 8192
"""Elements of one all-reduce of one token: hidden size of a 70B model, 32 bits each."""

LINK_BITS_PER_S = 300_000_000

EXACT = 1e-9


def fanout_tree(exchange: Exchange) -> None:
    """A tree of depth two over eight devices."""
    tree(exchange, fanout=3)


def time_s(topology: str, algorithm: Algorithm, *, count: int = HIDDEN, tau_ms: int = 1, slower: int = 1) -> float:
    """Time of one all-reduce of fp32 on a topology whose links all have the same delay and bandwidth [s].

    Args:
        topology: its name.
        algorithm: of the all-reduce.
        count: elements.
        tau_ms: delay of a link [ms].
        slower: links carry 300 Mb/s over this.
    """
    links = [link.name for link in load_topology(topology).links]
    overrides = [f"link.{name}.latency={tau_ms} ms" for name in links]
    overrides += [f"link.{name}.bandwidth={LINK_BITS_PER_S // slower} b/s" for name in links]
    changed = load_topology(topology, overrides)
    call = Call("all_reduce", first_ranks(changed, None), count)
    entry = MeasuredCall(call, algorithm.__name__, "plain", plan_of(call, algorithm))
    outcome = measure(changed, entry)
    assert entry.time_s is not None, outcome.ended
    return entry.time_s


def delays(topology: str, algorithm: Algorithm) -> float:
    """How often the delay of a link is paid."""
    return (time_s(topology, algorithm, tau_ms=2) - time_s(topology, algorithm, tau_ms=1)) / 1e-3


def transmissions(topology: str, algorithm: Algorithm) -> float:
    """How often the time to send all data over one link is paid."""
    count = 3 * HIDDEN  # thirds of it are whole, as the closed forms have them
    once_s = count * 32 / LINK_BITS_PER_S
    return (time_s(topology, algorithm, count=count, slower=2) - time_s(topology, algorithm, count=count)) / once_s


def _row(table: str, algorithm: str, what: str, published: float, ours: Callable[[], float]) -> PublishedRow:
    def value(results: Results) -> float:
        return ours()

    return PublishedRow(
        table, {"algorithm": algorithm, "devices": 8 if table == "latency_8_devices" else 3},
        what, published, what, "P", value, (), EXACT,
    )  # fmt: skip


def paper() -> Paper:
    """The rows of the paper; ours are counted on the virtual executor."""
    rows = (
        _row("latency_8_devices", "star", "tau", 8, lambda: delays("edge_star", star)),
        _row("latency_8_devices", "tree", "tau", 16, lambda: delays("edge_star", fanout_tree)),
        _row("latency_8_devices", "ring", "tau", 56, lambda: delays("edge_star", ring)),
        _row("closed_form", "star", "t_link", 2, lambda: delays("edge_mesh", star)),
        _row("closed_form", "star", "t_data", 2, lambda: transmissions("edge_mesh", star)),
        _row("closed_form", "ring", "t_link", 4, lambda: delays("edge_mesh", ring)),
        _row("closed_form", "ring", "t_data", 4 / 3, lambda: transmissions("edge_mesh", ring)),
    )
    return Paper("tpi_llm", "TPI-LLM: all-reduce among edge devices (arXiv 2410.00531)", {}, tuple(identities(rows)))
