"""Descriptions of clusters in other people's formats become topology files.

``windtunnel topology import FORMAT FILE`` reads one, `sketch.py` writes YAML that `load_topology` reads, with file and
line of every number as its source. What a format does not say is never made up: the product of a device, the rate of a
link or its latency must then be given (``--product``, ``--link``, ``--latency``), and the error says which. What a
format says and a topology cannot hold is listed in the comment at the top of the result.

`table.py` lists the formats, one file each; `markup.py` reads XML without entities and external files.
"""
