"""The gRPC service of a node: unpack, call, pack; no logic. `status.py` maps every error to its status in one table."""
