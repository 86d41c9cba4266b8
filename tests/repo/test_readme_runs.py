"""Every console command of the README and of `help commands` ends well, typed at the top of a bare clone.

Commands run in a folder with the tracked files and those that the README tells to save. Light ones run with every
suite, two at a time; those of `HEAVY` only with ``scripts/test slow``, and the table says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "controller/cli/pages/commands.md").read_text()
LIMIT_S = 900
"""Longest that a command may take."""

NODES = "starts node processes"
MANY = "runs many scenarios"
LONG = "takes over seven seconds of one core"
HEAVY = {
    "windtunnel run instinfer --set csd.count=20 --model opt-13b": LONG,
    "windtunnel run lamina --model llama3-70b --batch 64": LONG,
    "windtunnel collective all_reduce --topology dgx_h100 --ranks 8 --algorithm auto": LONG,
    "windtunnel collective all_to_all --topology h100_leaf_spine": LONG,
    "windtunnel collective all_reduce --topology frontier": LONG,
    "windtunnel torch run --topology dgx_h100": LONG,
    "windtunnel compare": MANY,
    "windtunnel reproduce": MANY,
}
"""Beginning of a command to why it is left to ``scripts/test slow``; an entry that fits no command fails."""

SAVED = {
    "box.yaml": r"^Save this as `box\.yaml`:\n\n```yaml\n(.*?)^```",
    "my_strategy.py": r"^Save this as `my_strategy\.py`:\n\n```python\n(.*?)^```",
    "test_my_strategy.py": r"^Save this as `test_my_strategy\.py`;.*?\n\n```python\n(.*?)^```",
}
"""Files that the README asks to save, and where it has their text."""


def lines_shown() -> list[str]:
    """The command lines of both texts; where a block has prompts, its other lines are output."""
    found: list[str] = []
    for block in re.findall(r"^```console\n(.*?)^```", f"{README}\n{COMMANDS}", re.M | re.S):
        lines = block.splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += prompted or [line for line in lines if line.strip()]
    return found


def shown() -> list[str]:
    """The commands, each once; `up`, what follows it and `down` are one, since each needs the other."""
    found: list[str] = []
    running = False
    for line in lines_shown():
        if running:
            found[-1] += f" && {line}"
        else:
            found.append(line)
        running = (running or line.startswith("windtunnel up ")) and not line.startswith("windtunnel down ")
    return list(dict.fromkeys(found))


def shown_output() -> dict[str, list[str]]:
    """Lines of output that the README shows below a command."""
    found: dict[str, list[str]] = {}
    for block in re.findall(r"^```console\n(\$ .*?)^```", README, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                command = line.removeprefix("$ ")
                found[command] = []
            else:
                found[command].append(line)
    return found


def reason(command: str) -> str:
    """Why a command is heavy; "" for a light one."""
    if "--live" in command or "windtunnel up " in command:
        return NODES
    return next((why for start, why in HEAVY.items() if command.startswith(start)), "")


SHOWN_OUTPUT = shown_output()
LIGHT = [command for command in shown() if not reason(command)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The files that a clone would have, and those that the README tells to save."""
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for name, pattern in SAVED.items():
        text = re.search(pattern, README, re.M | re.S)
        assert text, f"the README does not say what {name} holds"
        (folder / name).write_text(text[1])
    return folder


def ends_well(command: str, clone: Path) -> str:
    """What is wrong with how `command`, typed in `clone`, ends or what it prints; "" when nothing is."""
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "WINDTUNNEL_RUNS": str(clone.with_name("runs")),  # beside what its user has running
    }
    line = ["bash", "-c", command]
    done = subprocess.run(line, cwd=clone, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode or not done.stdout:
        return f"{command}\nexit code {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    printed = {line.strip() for line in done.stdout.splitlines()}
    absent = [line for line in SHOWN_OUTPUT.get(command, ()) if line.strip() not in printed]
    return f"{command}\ndoes not print what the README shows: {absent}" if absent else ""


@pytest.fixture(scope="module")
def endings(clone):
    """Light command to the way in which it ends, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {command: pool.submit(ends_well, command, clone) for command in LIGHT}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", LIGHT)
def test_a_light_command_ends_well(command, endings):
    ending: Future[str] = endings[command]
    assert not ending.result()


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize("command", [command for command in shown() if reason(command)])
def test_a_heavy_command_ends_well(command, clone):
    try:
        assert not ends_well(command, clone)
    except BaseException:
        if "windtunnel down " in command:
            ends_well(command.rpartition(" && ")[2], clone)
        raise


def test_the_readme_shows_three_lines_of_output_below_each_command():
    assert [len(lines) for lines in SHOWN_OUTPUT.values() if lines] == [3] * 5


def test_the_strategy_of_ones_own_is_short_and_is_run_in_every_way():
    written = re.search(SAVED["my_strategy.py"], README, re.M | re.S)
    assert written and len(written[1].splitlines()) <= 30
    ways = [command for command in shown() if "my_strategy" in command]
    assert len(ways) == 4 and sum("--live" in way for way in ways) == sum("--local" in way for way in ways) == 1


def test_every_command_is_run_and_every_reason_is_needed():
    lines = dict.fromkeys(lines_shown())
    assert sum(len(command.split(" && ")) for command in shown()) >= len(lines) > 50
    unused = [start for start in HEAVY if not any(command.startswith(start) for command in shown())]
    assert not unused, f"no command that is shown begins so: {unused}"
