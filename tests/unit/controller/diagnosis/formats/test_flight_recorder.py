"""Pickles are read without constructing anything, and what is no dump is refused by name."""

import os
import pickle

import pytest

from controller.diagnosis.errors import BadDump
from controller.diagnosis.formats.flight_recorder import read_dump, read_dumps, write_dumps
from tests.support.recorded_dumps import content

WORLD = {"world": (0, 1)}
OPS = [("world", "all_reduce", 1, "completed"), ("world", "send 0->1", 4, "started")]


def test_what_was_written_is_read(tmp_path) -> None:
    write_dumps(tmp_path, {rank: content(WORLD, OPS) for rank in (1, 0)})
    first, second = read_dumps(tmp_path)
    assert (first.rank, second.rank) == (0, 1)
    assert [op.what for op in first.ops] == ["all_reduce", "send 0->1"]
    assert first.ops[1].pair == (0, 1)
    assert first.communicators[0].ranks == (0, 1)
    assert first.waiting_in == first.ops[1]


class Evil:
    def __reduce__(self):
        return os.system, ("exit 7",)


@pytest.mark.parametrize(
    "value", [Evil(), {"version": "2.10", "pg_config": {}, "entries": [Evil()]}, {1: os.system}], ids=str
)
def test_what_wants_to_construct_is_refused_before_it_does(tmp_path, value) -> None:
    path = tmp_path / "dump_0"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(BadDump, match=r"dump_0: not a Flight Recorder dump: it wants to construct \w+\.system"):
        read_dump(path, 0)


@pytest.mark.parametrize("bytes_", [b"", b"hello", b"\x80\x02", b"\x80\x02}q", b"c", b"\x80\x02I9\n", b"P1\n."])
def test_what_is_no_pickle_is_refused(tmp_path, bytes_) -> None:
    path = tmp_path / "dump_0"
    path.write_bytes(bytes_)
    with pytest.raises(BadDump, match="dump_0: not a Flight Recorder dump"):
        read_dump(path, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": 3}, "entries is 3; it must be a list"),
        ({"entries": [3]}, "entry 0: not a Flight Recorder dump: it is 3"),
        ({"pg_config": []}, r"pg_config is \[\], where a dictionary belongs"),
        ({"pg_config": {"world": {"ranks": "[0, -1]"}}}, "has ranks '\\[0, -1\\]'; they must be a list"),
        ({"pg_config": {}}, "process group 'world' is not in pg_config"),
    ],
)
def test_what_a_dump_lacks_is_said(tmp_path, change, message) -> None:
    write_dumps(tmp_path, {0: content(WORLD, OPS) | change})
    with pytest.raises(BadDump, match=message):
        read_dumps(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("state", "done", "entry 0: state is 'done'; it must be one of"),
        ("profiling_name", "mpi:all_reduce", "entry 0: backend 'mpi'"),
        ("profiling_name", "all_reduce", "it must be like 'nccl:all_reduce'"),
        ("record_id", "7", "record_id is '7'; it must be a whole number"),
        ("process_group", ("a", "b", "c"), "it must be a name and a description"),
    ],
)
def test_what_an_entry_lacks_is_said(tmp_path, key, value, message) -> None:
    held = content(WORLD, OPS)
    held["entries"][0][key] = value
    write_dumps(tmp_path, {0: held})
    with pytest.raises(BadDump, match=message):
        read_dumps(tmp_path)


def test_the_default_group_of_gloo_has_two_names(tmp_path) -> None:
    held = content({"0": (0, 1)}, [("0", "all_reduce", 1, "started")])
    held["pg_config"] = {"": held["pg_config"]["0"]}
    write_dumps(tmp_path, {0: held})
    assert read_dumps(tmp_path)[0].ops[0].communicator.ranks == (0, 1)


def test_a_folder_without_dumps_and_one_with_two_sets_say_what_to_do(tmp_path) -> None:
    with pytest.raises(BadDump, match="no dumps; their names consist of PREFIX and the rank"):
        read_dumps(tmp_path)
    write_dumps(tmp_path, {0: content(WORLD, OPS)}, "a_")
    write_dumps(tmp_path, {0: content(WORLD, OPS)}, "b_")
    with pytest.raises(BadDump, match="2 sets of dumps, 'a_', 'b_'; choose one with --prefix"):
        read_dumps(tmp_path)
    assert len(read_dumps(tmp_path, "b_")) == 1
    with pytest.raises(BadDump, match="is not a folder"):
        read_dumps(tmp_path / "a_0")
