"""A SimGrid platform: hosts, routers, links, routes and clusters.

A platform lists routes, a topology has cables, and only some lists are those of cables. A route of one link (zones with
shortest-path routing have no others) says what the link joins; longer ones are laid out along those, and two links of
which nothing else is known meet in a switch. What came out is checked against every route that the platform lists:
the cables must take the same way. A link that many routes share anywhere is no cable between two vertices: an error.

A host becomes one device of the product that is given; what it computes per second is that of the product. A device
forwards nothing, so a host that others' routes pass gets a switch before it. ``SPLITDUPLEX`` is what a link here
usually is. A ``SHARED`` link, the default, carries both directions together: alone, a flow has all of it. A ``FATPIPE``
limits each flow alone, and is refused, except where a host talks to itself; ``WIFI`` is refused.

`units.py` reads quantities, `cabling.py` lays cables along routes, `cluster.py` has the clusters, and `platform.py`
the rest.
"""
