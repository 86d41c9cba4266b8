"""Failures as data: which link fails or slows down when.

On the command line a fault is a text (`schedule.py`): ``--fail 'up0-1@2 ms:5 ms'``, ``--degrade 'up1-0=0.5@0 s'``.
Several go into a file (`file.py`) for ``--faults FILE.yaml``:

    faults:
      - {link: up0-1, at: 2 ms}                       # fails for good
      - {link: up0-2, at: 2 ms, until: 5 ms}          # fails, and comes back
      - {link: up1-0, at: 0 s, capacity: 0.5}         # keeps half of its capacity

`windtunnel topology show NAME` lists the links. Times are device time since the start of a run, or of each call of a
collective. What a run does about a fault is up to its executor: flows move to equal paths, or the run ends with the
name of the link.
"""
