"""Links that pass others: the capacity that their flows take beside their own.

A bus that joins many ends is one link, and the ways between its other ends pass it; a backbone is passed by the links
of its hosts; a route that no chain of cables takes is a link of its own that passes those it goes over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.errors import BadTopology
from controller.topology.document import Document, Place
from controller.topology.nearest import hint
from controller.topology.schema import Hop, Link


def resolve_passes(
    document: Document, passes: Mapping[str, Sequence[str]], places: Mapping[str, Place], links: dict[str, Link],
    failed: dict[str, None],
) -> None:  # fmt: skip
    """Gives every link of `passes` what it passes, and a rate where it has none of its own; changes `links` and
    `failed`.

    Args:
        document: for what is wrong.
        passes: names of the links that each passes, ``NAME`` or ``NAME>`` as it is declared and ``NAME<`` against it.
        places: of the links in the file.
        links: all, as they are in the end.
        failed: those that pass nothing; one that passes such a link is one.

    Raises:
        BadTopology: it passes no link, itself, or one that passes others.
    """
    for name, wanted in passes.items():
        where = document.where(places[name])
        hops: list[Hop] = []
        for text in wanted:
            other = text.rstrip("<>")
            if other not in links:
                raise BadTopology(f"{where}: the link {name!r} passes no link {other!r}{hint(other, links, 'links')}")
            if other in passes:
                raise BadTopology(f"{where}: {name!r} passes {other!r}, which passes others; name those")
            hops.append(Hop(links[other], not text.endswith("<")))
            if other in failed:
                failed[name] = None
        links[name] = _with_rates(links[name], tuple(hops))


def _with_rates(link: Link, hops: tuple[Hop, ...]) -> Link:
    if not math.isinf(link.forward_bytes_per_s):
        return replace(link, passes=hops)
    alone = all(hop.link.per_flow for hop in hops)
    holding = [hop for hop in hops if alone or not hop.link.per_flow]
    back = [Hop(hop.link, not hop.forward) for hop in holding]
    return replace(
        link,
        forward_bytes_per_s=min(hop.bytes_per_s for hop in holding),
        backward_bytes_per_s=min(hop.bytes_per_s for hop in back),
        per_flow=alone,
        passes=hops,
    )
