"""Names, sizes and times that nodes and controllers agree on."""

ARBITER = "arbiter"
"""What the arbiter is called where a device could stand, and what its certificate names; no device is called so."""

CLUSTER_FILE = "cluster.json"
"""Names the devices of a run and where each listens; written by the controller before any node starts."""
PROCESSES_FILE = "processes.json"
"""Says which process is which node; written by the process that forks them."""
CREDENTIALS_FILE = "credentials.json"
"""Holds what every node and the controller show to one another; readable by its owner alone."""

TOKEN_KEY = "authorization"
"""Metadata of a request that carries the token of the cluster."""
FAILURE_KEY = "windtunnel-failure-bin"
"""Metadata of a refusal that carries its `Failure`."""
STREAM_KEY = "windtunnel-stream"
"""Metadata of a call that may be continued: the name of the stream, a space, and how many calls it had before."""

MESSAGE_BYTES = 32 << 20
"""The largest message that either side takes [bytes]."""
CHUNK_BYTES = 2 << 20
"""How much data one chunk of Write or Read carries [bytes]; larger chunks are no faster on a local socket."""

GROUP_SUFFIX = ".group.sock"
"""End of the path of a socket that several devices listen at; calls to it say whose they are."""
DEVICE_KEY = "windtunnel-device"
"""Metadata of such a call: the device."""

HEARTBEAT_S = 0.5
"""How often a node says that it lives [s of wall time]."""
NODE_TIMEOUT_S = 4.0
"""How long a controller lets a node be silent unless told otherwise [s of wall time]."""
DEFAULT_DEADLINE_S = 60.0
"""Deadline of an RPC that names no other [s of wall time]."""
FLASH_DEADLINE_S = 600.0
"""Deadline of a call that waits for a disk [s of wall time]."""
WAIT_S = 600.0
"""The longest that one call waits for events [s of wall time]."""
BATCH_TIMEOUT_S = 600.0
"""How long commands wait for their events unless told otherwise [s of wall time]."""
STREAM_DEADLINE_S = 600.0
"""Deadline of a call that carries a stream, which goes on with the next call [s of wall time]."""
STREAM_CALL_S = STREAM_DEADLINE_S / 10
"""When a client goes on with the next call [s of wall time]; so it may stand still for most of the deadline."""
HORIZON_S = 7 * 86400.0
"""How far ahead of now an instant may lie that a request names [s of wall time]; no call waits for it."""
