"""Detectors, one a file; `table.py` lists them. None can reach what was injected."""
