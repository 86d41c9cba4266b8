"""What all tests have in common."""

from hypothesis import settings

# A deadline is a tight bound of wall time: on a busy machine an example of 50 ms takes a second.
settings.register_profile("windtunnel", deadline=None)
settings.load_profile("windtunnel")
