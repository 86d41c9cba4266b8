"""Numbers that nodes and controllers agree on."""

HEARTBEAT_S = 0.5
"""How often a node says that it lives [s of wall time]."""
NODE_TIMEOUT_S = 4.0
"""How long a controller lets a node be silent unless told otherwise [s of wall time]."""
