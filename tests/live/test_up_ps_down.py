"""Nodes that outlive their command: started, listed, found dead, cleaned up, stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import psutil
import pytest

pytestmark = pytest.mark.live


@pytest.fixture
def windtunnel(monkeypatch):
    """Runs the command line with a folder of runs of its own; stops everything at the end."""
    folder = tempfile.mkdtemp(prefix="wt-")  # tmp_path is too long for a socket
    environment = {**os.environ, "WINDTUNNEL_RUNS": folder}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controller.cli.main", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    yield run
    run("down", "--all")
    shutil.rmtree(folder)


def listed(answer: subprocess.CompletedProcess[str]) -> list[dict]:
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_nodes_go_on_until_they_are_stopped(windtunnel):
    (started,) = listed(windtunnel("up", "a6000_csd", "--set", "csd.count=2", "--json"))
    assert [each["device"] for each in started["devices"]] == ["cpu", "gpu", "csd0", "csd1"]
    processes = [each["process"] for each in started["devices"]]
    assert len(set(processes)) == 4 and all(map(psutil.pid_exists, processes))
    assert listed(windtunnel("ps", "--json")) == [started]

    again = windtunnel("up", "a6000_csd")
    assert again.returncode == 1 and "is running" in again.stderr

    assert windtunnel("down").stdout == "a6000_csd stopped\n"
    assert not any(map(psutil.pid_exists, processes))
    assert listed(windtunnel("ps", "--json")) == []
    assert windtunnel("down").stdout == "nothing is running\n"


def test_a_start_that_is_stopped_says_so(tmp_path):
    """The fork server is told to stop before it has imported what nodes need, as `down` does."""
    (tmp_path / "cluster.json").write_text(json.dumps({"devices": {}, "links": {}, "epoch": 0, "dilation": None,
                                                        "flash_folder": str(tmp_path), "arbiter": ""}))  # fmt: skip
    ear, mouth = os.pipe()
    stop = "import os, signal, sys; from node import server; starts = server._starts\n"
    stop += "server._starts = lambda *a: (os.kill(os.getpid(), signal.SIGTERM), starts(*a))[1]\n"
    stop += f"sys.exit(server.main([{str(tmp_path)!r}, '--report', '{mouth}']))"
    assert subprocess.run([sys.executable, "-c", stop], pass_fds=(mouth,), timeout=60).returncode == 0
    os.close(mouth)
    with os.fdopen(ear) as lines:
        said = [json.loads(line) for line in lines]
    assert said[-1]["type"] == "ShuttingDown" and "was told to stop while it started" in said[-1]["text"]


def test_a_stopped_node_is_listed_as_stopped(windtunnel):
    (started,) = listed(windtunnel("up", "a6000_csd", "--json"))
    processes = {each["device"]: each["process"] for each in started["devices"]}
    os.kill(processes["csd0"], signal.SIGSTOP)
    shown = windtunnel("ps").stdout.splitlines()
    assert any("csd" in line and "stopped" in line for line in shown)
    assert any("gpu" in line and "running" in line for line in shown)
    assert windtunnel("down").returncode == 0
    assert not any(map(psutil.pid_exists, processes.values()))


def test_a_dead_node_is_listed_as_dead(windtunnel):
    (started,) = listed(windtunnel("up", "a6000_csd", "--json"))
    drive = next(each for each in started["devices"] if each["device"] == "csd0")
    os.kill(drive["process"], signal.SIGKILL)
    shown = windtunnel("ps").stdout.splitlines()
    assert any("csd0" in line and "dead" in line for line in shown)


def test_what_a_crash_left_is_cleaned_up_by_the_next_start(windtunnel):
    (started,) = listed(windtunnel("up", "a6000_csd", "--json"))
    server = psutil.Process(started["devices"][0]["process"]).parent()
    everyone = [server, *server.children(recursive=True)]
    server.kill()
    psutil.wait_procs(everyone, timeout=10)
    (fresh,) = listed(windtunnel("up", "a6000_csd", "--json"))
    assert fresh["name"] == started["name"]
    assert fresh["devices"] != started["devices"]


def test_wrong_input_is_refused(windtunnel):
    for arguments in (
        ("up", "nope"),
        ("down", "nope"),
        ("up", "a6000_csd", "--name", "../x"),
        ("up", "a6000_csd", "--pace", "0"),
    ):
        answer = windtunnel(*arguments)
        assert answer.returncode == 2, (arguments, answer.stderr)
        assert "Traceback" not in answer.stderr
