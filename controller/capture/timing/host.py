"""What the host of a rank takes for each call of an eager program.

A call that launches kernels takes the launch of the device's sheet (queue of kind ``issue``), which stands for Python,
the dispatcher, autograd and the launch itself. A view or an allocation dispatches and launches nothing.
Source: the share of a view is assumed: PyTorch's dispatcher and autograd take 1 to 2 us of the 5 to 10 us that an
eager call takes. No constant here is fitted to a training step.
"""

from __future__ import annotations

from typing import Final

VIEW_SHARE: Final = 0.25
"""Assumed: time of a view over that of a call that launches."""
COLLECTIVE_CALLS: Final = 5.0
"""Assumed: calls' worth of host time for a collective of a process group in Python and C++ (checks, work, events)."""
AHEAD: Final = 1024
"""Launches that a host may be ahead of the device (`node.hardware.issue`)."""
