"""What a run leaves is seen, and the campaign removes it."""

import sys
from time import monotonic

import psutil

from tests.support.storm.live_run import LiveRun

STRAY = """
import os, subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait(300)"])
open(os.environ["WINDTUNNEL_RUNS"] + "/forgotten", "w").close()
print("decode: 3/48", file=sys.stderr, flush=True)
print('{"stray": %d}' % child.pid, flush=True)
os._exit(0)
"""


def test_a_process_and_a_file_that_are_left_are_told_and_removed():
    run = LiveRun([sys.executable, "-c", STRAY])
    try:
        assert run.end(monotonic() + 60)
        assert run.steps() == 3
        stray = run.answer()["stray"]
        assert run.left(0.2) == [f"process {stray}", "file forgotten"]
    finally:
        run.remove()
    assert not run.folder.exists()
    assert not psutil.pid_exists(stray) or psutil.Process(stray).status() == psutil.STATUS_ZOMBIE
