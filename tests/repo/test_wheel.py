"""The wheel: what is inside, and that it works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("windtunnel-*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def test_it_holds_its_packages_and_nothing_else(names):
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"node", "controller", "windtunnel"}
    assert "windtunnel/__init__.py" in names
    assert not [name for name in names if name.startswith("controller/door/windtunnel")], "the door is there once"
    assert not [name for name in names if {"tests", "scripts", "__pycache__"} & set(Path(name).parts)]


def test_topologies_catalog_and_type_marks_ship_inside(names):
    declared = {path.name for path in (ROOT / "topologies").glob("*.yaml")}
    products = {path.name for path in (ROOT / "node/hardware/catalog").glob("*.yaml")}
    assert declared and products
    assert declared == {Path(name).name for name in names if name.startswith("controller/topology/declared/")}
    assert products == {Path(name).name for name in names if name.startswith("node/hardware/catalog/")}
    assert {"node/py.typed", "controller/py.typed", "node/rpc/node_pb2_grpc.py"} <= set(names)


def test_it_works_outside_of_the_checkout(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A pure wheel is its own installed form; the path entry comes before the editable one of this environment.
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def windtunnel(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controller.cli.main", *arguments]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=60)

    where = subprocess.run(
        [sys.executable, "-c", "import controller, node; print(controller.__file__, node.__file__)"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.count(str(site)) == 2
    door = subprocess.run(
        [sys.executable, "-c", "import windtunnel as w; print(w.__file__, w.run('gpu_only', model='tiny-opt').ok)"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert door.stdout.split() == [str(site / "windtunnel/__init__.py"), "True"]
    shown = windtunnel("topology", "show", "a6000_csd")
    assert shown.returncode == 0, shown.stderr
    assert "rtx_a6000" in shown.stdout
    assert windtunnel("devices", "rtx_a6000").returncode == 0
    own = elsewhere / "mine.yaml"
    own.write_text(
        "name: mine\nhosts:\n  host0:\n    switches: [root]\n    devices:\n      gpu: {product: rtx_a6000}\n"
        "    links:\n      - {ends: [gpu.pcie, root], bandwidth: 32 GB/s, latency: 500 ns}\n"
    )
    checked = windtunnel("topology", "check", "./mine.yaml")
    assert checked.returncode == 0, checked.stderr
