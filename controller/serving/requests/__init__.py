"""Requests: when they arrive, how long they are, and files of those that somebody recorded."""
