"""A SimGrid platform: hosts, routers, links, routes and clusters.

A platform lists routes, a topology has cables. A route of one link (zones with shortest-path routing have no others)
says what the link joins; longer ones are laid out along those, and two links of which nothing else is known meet in a
switch. Every route that the platform lists is checked against what was laid: one that the cables would not take gets a
link of its own, which passes those that the file names, and so does what goes around (``bypassRoute``). A link that
joins many ends is a bus: the ways between its other ends pass it.

A host becomes one device of the product that is given; what it computes per second is that of the product. A device
forwards nothing, so a host that others' routes pass gets a switch before it. ``SPLITDUPLEX`` is what a link here
usually is. A ``SHARED`` link, the default, carries both directions together: alone, a flow has all of it. A ``FATPIPE``
limits each flow alone; ``WIFI`` is refused.

`units.py` reads quantities, `cabling.py` lays cables along routes and `astray.py` finds those that they do not take,
`cluster.py`, `dragonfly.py` and `backbone.py` have the clusters, `star_zone.py` and `vivaldi.py` zones of their kinds,
and `platform.py` the rest. Ways of equal length around a ring of a torus go by names here, upwards in SimGrid.
"""
