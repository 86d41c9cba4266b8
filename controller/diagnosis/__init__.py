"""Faults found from telemetry, blamed on a component, and every verdict scored against the truth.

What fails when is in `controller.faults`; here is who sees it. A detector (`detectors/`, one a file) is given what a
collective library records (`telemetry`) and nothing else: import-linter keeps it from the truth. Blame follows one
graph of who waits for whom (`controller.faults.wait_for`), whatever the shape of the collective.

Dumps of others are read as well: `formats` reads and writes the pickles of PyTorch's Flight Recorder, `wavefront` says
which ranks hold up the others, and `what_if` says how much faster a traced step would be without its stragglers.
"""
