r"""Fabrics that are too regular to be written out: a ``fabric:`` block names a kind, a host and how many of everything.

::

    fabric:
      kind: leaf_spine
      leaves: 16
      hosts_per_leaf: 16
      spines: 8
      oversubscription: 2
      host:                                   as an entry under hosts:, and what leaves it
        switches: [nvswitch]
        devices: {gpu: {product: h100_sxm, count: 8}}
        links: [{ends: [gpu.nvlink, nvswitch], bandwidth: 450 GB/s, latency: 300 ns}]
        uplinks: [gpu.pcie]
      link: {bandwidth: 400 Gb/s, latency: 1 us}

The host is repeated as ``host0``, ``host1``, ...: its devices are numbered through the whole fabric (``gpu0`` to
``gpu2047``: one group, so one override reaches all), its switches carry the host (``nvswitch_h3``). Every link that is
declared once is one name for overrides (``link.gpu.pcie-leaf.bandwidth``), and every number of the block is one too
(``fabric.spines=4``).

Nothing is written to YAML on the way: generated links and devices are the same frozen values that the loader makes of
written ones, so that 16,384 devices take a second. `table.py` lists the kinds, one file each.
"""
