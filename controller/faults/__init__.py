"""Failures as data: which link changes when (`schedule.py`). What a run does about it is the executor's."""
