"""A folder of the cache is there whole or not at all."""

from pathlib import Path

import pytest

from controller.errors import PreflightFailed
from controller.models.cache_folder import cache_root, kept_folder


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDTUNNEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_filled_once(root):
    calls = []

    def fill(folder):
        calls.append(folder)
        (folder / "weights").write_text("w")

    first, second = kept_folder("m-v1", 0, fill), kept_folder("m-v1", 0, fill)
    assert first == second == root / "m-v1"
    assert len(calls) == 1
    assert calls[0] != first
    assert (first / "weights").read_text() == "w"


def test_an_interrupted_filling_leaves_nothing_under_the_name_and_the_next_cleans_up(root):
    def interrupted(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_folder("m-v1", 0, interrupted)
    assert not (root / "m-v1").exists()
    kept_folder("other", 0, lambda folder: (folder / "x").touch())
    assert sorted(path.name for path in root.iterdir()) == [".lock", "other"]


def test_too_little_room_is_said_before_anything_is_written(root):
    with pytest.raises(PreflightFailed, match=rf"needs {10**18} bytes in .*cache, \d+ are free.*WINDTUNNEL_CACHE"):
        kept_folder("m", 10**18, lambda _: pytest.fail("filled"))
    assert [path.name for path in root.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_says_what_to_set(root):
    root.write_text("a file in the way")
    with pytest.raises(PreflightFailed, match=r"cannot be used.*set WINDTUNNEL_CACHE"):
        kept_folder("m", 0, lambda _: None)


def test_the_cache_follows_the_environment(root, monkeypatch, tmp_path):
    assert cache_root() == root
    monkeypatch.delenv("WINDTUNNEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "windtunnel"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "windtunnel"
