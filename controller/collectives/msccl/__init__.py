"""Algorithms from files: MSCCL XML, read (`parse.py`), proven (`prove.py`) and made a plan (`plan.py`)."""
