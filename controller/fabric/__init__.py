"""What a transfer or a kernel takes of the declared hardware, as arrays for the engine: `parts.py` below `loads.py`."""
