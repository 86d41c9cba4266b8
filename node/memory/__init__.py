"""Bounded memory tiers over real storage, and how fast they are.

- `tier.py` says what a tier is; `arena.py` (DRAM-like, one sparse memfd a tier) and `flash.py` (zarr arrays on disk
  that survive the process) are the two kinds. Both give stable addresses: the view of a range stays valid as
  long as its buffer, so tensors over it are made once. Flash only asks that a range be held while it is used.
- `store.py` is all tiers of a device: names, capacity, ranges.
- `attach.py` maps the arena of another process.
- `resources.py`, `ledger.py` (without pace) and `pacer.py` (with it) say when a use of tiers and ports ends.
"""
