"""What people and other programs read of a run.

Everything inside windtunnel is in base units; here, and only here, values become ``154.8 TFLOP/s`` and ``3.12 ms``.

- `tables`: text tables and rounded quantities.
- `json_output`: the machine-readable twin of a table; refuses what JSON has no word for.
- `chrome_trace`: a run as a timeline for ui.perfetto.dev and every other reader of Chrome traces.
- `progress`: how far a long run is, on standard error.
"""
