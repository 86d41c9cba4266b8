r"""Declared clusters: a YAML file becomes frozen values, and those a graph with routes.

::

    document.py     YAML that remembers its lines
    declaration.py  what may stand in a file (pydantic)          \
    overrides.py    --set texts                                   |  loader.py puts them together
    devices.py      groups, counts, sheets, constants             |
    cables.py       rates, latency, condition of a link           |
    links.py        ends, directions, copies                      |
    generate/       a fabric: block stands for hosts and links   /
    schema.py       the frozen result                            digest.py: its SHA-256
    graph.py        routes                                       show.py, matrix.py: for people and scripts
    importing/      files of other tools become topology files

A group (``csd``) is what files, overrides and strategies address; a declared count gives its devices an index
(``csd0``, ``csd1``), and each gets its own copy of every link that ends at the group. Names of devices and switches are
unique in the whole file, across hosts, so that a trace or a folder needs no host in front. Everything that can be wrong
is a `BadTopology` with file and line or a `BadOverride` with the text, both with the nearest word that exists.
"""
