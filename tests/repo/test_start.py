"""What is loaded when: the command line starts at once, and a virtual run needs neither torch nor grpc."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "numba", "grpc", "zarr", "transformers", "networkx", "pydantic")

LIST_MODULES = """
import json, sys
sys.argv = ["windtunnel", *json.loads(sys.argv[1])]
try:
    from controller.cli.main import main
    status = main()
except SystemExit as ended:
    status = ended.code or 0
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """The modules that a command line of `arguments` has imported when it ends."""
    command = [sys.executable, "-c", LIST_MODULES, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


def test_help_imports_nothing_but_click():
    modules = modules_after("--help")
    assert not modules & {*HEAVY, "numpy", "rich", "ruamel.yaml"}
    ours = {name for name in modules if name.partition(".")[0] in ("controller", "node")}
    of_the_command_line = {f"controller.cli.{name}" for name in ("main", "machine", "memory_budget")}
    names = {"controller", "controller.cli", "controller.errors", "controller.nearest", "node", "node.errors"}
    expected = names | of_the_command_line
    assert ours == expected
    assert len(modules) < 400, "the start takes as long as what it imports"


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (("topology", "show", "a6000_csd"), ("torch", "numba", "grpc", "zarr", "transformers")),
        (("devices",), ("torch", "numba", "grpc", "zarr", "transformers")),
        (("help", "compute"), ("torch", "numba", "grpc", "zarr", "transformers", "pydantic")),
        (("help", "strategies", "instinfer"), ("torch", "numba", "grpc", "zarr", "transformers")),
        (("plan", "check", "instinfer"), ("torch", "grpc", "zarr", "transformers")),
        (
            ("run", "instinfer", "--model", "tiny-opt", "--output-tokens", "2"),
            ("torch", "grpc", "zarr", "transformers"),
        ),
        (
            ("run", "instinfer", "--model", "tiny-opt", "--output-tokens", "2", "--local"),
            ("grpc", "zarr", "transformers"),
        ),
    ],
)
def test_what_a_command_does_not_need_it_does_not_import(arguments, absent):
    assert not modules_after(*arguments) & set(absent)


def test_the_door_for_python_imports_next_to_nothing():
    script = "import json, sys, windtunnel; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not set(json.loads(done.stdout)) & {*HEAVY, "numpy", "rich", "ruamel.yaml", "click"}
