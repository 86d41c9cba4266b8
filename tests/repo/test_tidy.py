"""What a reader may rely on in every tracked text, beyond what ruff, mypy and import-linter see."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 450
VAGUE = re.compile(r"(^|_)(util|utils|helper|helpers|manager|managers|base|common|misc|v2)(_|$)")
VAGUE_CLASS = re.compile(r"(Util|Utils|Helper|Manager|Common|Misc|V2)$|^(Base|Abstract)[A-Z]")
GENERATED = ("node/rpc/",)

# Built from pieces, so that this file does not hold what it looks for.
FORBIDDEN_TEXT = {
    "a registry host or an index of packages": re.compile(
        r"pypi\." r"org|files\.python" r"hosted|download\.py" r"torch|--(extra-)?index" r"-url\b|--find" r"-links\b",
        re.I,
    ),
    "an absolute path of a machine": re.compile(r"(?<![\w.:/])/(?:home|root|work|Users|opt|mnt)" r"/[\w.-]"),
    "a note to oneself": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"),
}


def tracked() -> list[Path]:
    """Every file that is committed or would be: tracked ones and new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    names = [name for name in sorted(answer.split("\0")) if name and (ROOT / name).is_file()]
    assert names, "git lists no file"
    return [Path(name) for name in names]


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return tracked()


@pytest.fixture(scope="module")
def sources(files) -> list[Path]:
    return [path for path in files if path.suffix == ".py" and not str(path).startswith(GENERATED)]


def test_no_file_is_long(sources):
    counts = {str(path): len((ROOT / path).read_text().splitlines()) for path in sources}
    long = {name: count for name, count in counts.items() if count > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines, which usually holds two ideas: {long}"


def test_every_name_says_what_is_inside(files, sources):
    vague = [str(path) for path in files if any(VAGUE.search(Path(part).stem) for part in path.parts)]
    for path in sources:
        for name in re.findall(r"^class (\w+)", (ROOT / path).read_text(), re.M):
            if VAGUE_CLASS.search(name):
                vague.append(f"{path}: class {name}")
    assert not vague, f"name them by what they are: {vague}"


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_file_holds(files, what):
    found = []
    for path in files:
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FORBIDDEN_TEXT[what].search(line):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    assert not found, f"{what}:\n" + "\n".join(found)


def test_every_drawn_number_has_a_seed(sources):
    unseeded = [
        f"{path}:{number}"
        for path in sources
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if re.search(r"default_rng\(\s*\)", line) and path != Path("tests/repo/test_tidy.py")
    ]
    assert not unseeded, f"runs would differ: {unseeded}"


def test_the_top_level_is_what_the_readme_maps(files):
    top = {path.parts[0] for path in files}
    allowed = {
        ".ci", ".gitignore", "README.md", "constraints.txt", "controller", "node", "proto", "pyproject.toml", "scripts",
        "tests", "topologies",
    }  # fmt: skip
    assert top <= allowed, f"not a place of its own: {sorted(top - allowed)}"


def test_scripts_can_be_started(files):
    for path in files:
        first = (ROOT / path).read_bytes()[:2]
        if path.parts[0] in ("scripts", ".ci") and first == b"#!":
            assert (ROOT / path).stat().st_mode & 0o111, f"{path} is not executable: chmod +x {path}"
            text = (ROOT / path).read_text()
            assert "bash" not in text.splitlines()[0] or "set -euo pipefail" in text, f"{path} goes on after failures"


def test_constraints_are_exact_and_of_no_machine():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins), "NAME==VERSION, no +local part"
    names = [re.split("==", pin)[0].lower() for pin in pins]
    assert len(names) == len(set(names))
    assert "torch" in names


def test_the_wall_clock_and_chance_are_banned_everywhere_but_in_the_clocks():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = set(settings["flake8-tidy-imports"]["banned-api"])
    assert {"time", "datetime.datetime.now", "random", "pickle", "marshal", "shelve"} <= banned
    assert {"TID", "NPY"} <= set(settings["select"])
    free = {path for path, rules in settings["per-file-ignores"].items() if "TID251" in rules}
    dumps = "controller/diagnosis/formats/flight_recorder.py"  # reads pickles and constructs nothing
    assert free == {"node/clock.py", "controller/clock.py", dumps, "scripts/**", "tests/**"}


def test_no_line_switches_a_ban_off(sources):
    silenced = [
        f"{path}:{number}"
        for path in sources
        if path.parts[0] in ("node", "controller")
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if re.search(r"#\s*(ruff:\s*)?noqa(?!:)|#\s*noqa:.*\bTID25", line)
    ]
    assert not silenced, f"name the rule, and no clock outside of clock.py: {silenced}"
