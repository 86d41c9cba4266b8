"""The picture in the README is what its script draws now."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "scripts/pictures"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_committed_picture_is_what_the_script_draws(tmp_path):
    drawn = tmp_path / "drawn.svg"
    subprocess.run([sys.executable, PICTURES / "where_the_time_goes.py", drawn], cwd=ROOT, check=True)
    committed = PICTURES / "where_the_time_goes.svg"
    assert drawn.read_bytes() == committed.read_bytes(), "run scripts/picture and commit what it draws"


def test_the_readme_shows_the_picture():
    assert "](scripts/pictures/where_the_time_goes.svg)" in (ROOT / "README.md").read_text()
