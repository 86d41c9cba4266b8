"""MSCCL files: what they compute on real values, what is proven, and what is refused with rank, chunk and step."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from plan_values import earliest, latest, wrong_elements

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.measure.calls import measure, plan_of, prepare
from controller.collectives.msccl.parse import parse
from controller.collectives.msccl.plan import from_file
from controller.collectives.msccl.prove import prove
from controller.plan.check import check_plan

FILES = Path(__file__).parents[4] / "fixtures" / "msccl"
RING, ALLPAIRS, BROKEN = (str(FILES / f"{name}.xml") for name in ("ring_4", "allpairs_4", "ring_4_broken"))


def group(size: int = 4) -> Group:
    return Group(tuple(f"gpu{rank}" for rank in range(size)), ("hbm",) * size)


def changed(tmp_path: Path, path: str, *changes: tuple[str, str]) -> str:
    """A copy of a file with every first occurrence replaced."""
    text = Path(path).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    made = tmp_path / "changed.xml"
    made.write_text(text)
    return str(made)


@pytest.mark.parametrize("path", [RING, ALLPAIRS])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int32"])
@pytest.mark.parametrize("count", [4, 64, 4 * 37])
def test_every_element_is_right(path, dtype, count, box):
    for in_place in (False, True) if path == RING else (False,):
        call = Call("all_reduce", group(), count, dtype, in_place)
        plan = prepare(call, path).plan
        check_plan(plan, box(4))
        for pick in (earliest, latest):
            assert wrong_elements(call, plan, pick) == [0] * 4


@pytest.mark.parametrize("path", [RING, ALLPAIRS])
def test_it_takes_time_on_the_virtual_clock(path, box):
    entry = prepare(Call("all_reduce", group(), 1 << 20), path)
    assert measure(box(4), entry).ok and entry.time_s > 0


def test_a_ring_from_a_file_sends_what_the_ring_of_the_table_sends(box):
    """In place, on 1 MiB: its bytes on the links are the same, whatever its reductions cost."""
    used = []
    for name in (RING, "ring"):
        entry = prepare(Call("all_reduce", group(), 1 << 18, in_place=True), name)
        outcome = measure(box(4), entry)
        used.append({use.name: use.amount for use in outcome.resources if use.kind == "link"})
    assert used[0] == used[1]


def test_a_name_that_is_a_file_is_looked_up_as_one():
    call = Call("all_reduce", group(), 64)
    assert prepare(call, RING).plan == plan_of(call, partial(from_file, RING), RING)


def test_what_is_wrong_is_refused_with_rank_chunk_and_step():
    with pytest.raises(BadCall) as refused:
        prepare(Call("all_reduce", group(), 64), BROKEN)
    said = str(refused.value)
    for word in ("does not compute all_reduce", "chunk 1 of the output of rank", "threadblock 0, step", "lacks"):
        assert word in said


@pytest.mark.parametrize(
    ("path", "changes", "said"),
    [
        # The sum begins before the third peer's chunk is there.
        (ALLPAIRS, [('type="nop" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="3" deps="1"',
                     'type="nop" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="2" deps="1"')],
         "neither waits for the other"),
        (ALLPAIRS, [('type="cpy" srcbuf="i" srcoff="0"', 'type="cpy" srcbuf="s" srcoff="0"')], "nothing has written"),
        (ALLPAIRS, [('type="cpy"', 'type="nop"')], "nothing has written"),
        (ALLPAIRS, [('type="cpy" srcbuf="i" srcoff="0"', 'type="cpy" srcbuf="i" srcoff="1"')], "does not compute"),
        (RING, [('type="rrcs"', 'type="rrs"')], "does not compute all_reduce: chunk 1 of the output of rank 0"),
        (RING, [('send="1" recv="3"', 'send="-1" recv="3"')], "no rank to send to"),
        (RING, [('send="1" recv="3"', 'send="1" recv="-1"')], "no rank to do so from"),
        (RING, [('send="1" recv="3"', 'send="2" recv="3"')], "can never run: it waits for a message of rank 3"),
        (RING, [('      <step s="6" type="r"', '      <step s="6" type="nop"')], "what no rank receives"),
        (RING, [('cnt="1"', 'cnt="2"')], "sends 2|which has"),
        (RING, [('srcoff="0"', 'srcoff="9"')], "touches chunks 9 to 9 of the input, which has 4"),
        (ALLPAIRS, [('depid="1" deps="1"', 'depid="9" deps="1"')], "does not have"),
        (ALLPAIRS, [('depid="1" deps="1"', 'depid="0" deps="5"')], "can never run"),
    ],
)  # fmt: skip
def test_files_that_compute_something_else(path, changes, said, tmp_path):
    with pytest.raises(BadCall, match=said) as refused:
        program = parse(changed(tmp_path, path, *changes))
        prove(program, program.in_place)
    assert "rank" in str(refused.value) and "step" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([('coll="allreduce"', 'coll="allreduc"')], "changed.xml:1: coll is 'allreduc'"),
        ([('ngpus="4"', 'ngpus="5"')], "changed.xml:1: ngpus is 5"),
        ([('ngpus="4"', 'ngpus="four"')], "whole number"),
        ([('type="rrs"', 'type="rss"')], "type 'rss'"),
        ([('srcbuf="i"', 'srcbuf="x"')], "srcbuf 'x'"),
        ([('<step s="1"', '<step s="7"')], "step 7 stands where step 1 is due"),
        ([("<tb", "<tc"), ("</tb>", "</tc>")], "<tc> in <gpu>; here goes <tb>"),
        ([("</algo>", "")], "not XML"),
        ([("<algo", '<!DOCTYPE algo [<!ENTITY a "b">]>\n<algo')], "not allowed"),
        ([("<algo", '<!DOCTYPE algo SYSTEM "file:///etc/hosts">\n<algo')], "not allowed"),
        ([('send="1"', 'send="4"')], "no such peer"),
        ([('send="1"', 'send="0"')], "no such peer"),
        ([('nchunksperloop="4"', 'nchunksperloop="0"')], "no chunks"),
        ([('cnt="1"', 'cnt="99999999999999999999999"')], "whole number"),
    ],
)
def test_files_that_are_none(changes, said, tmp_path):
    with pytest.raises(BadCall, match=said):
        parse(changed(tmp_path, RING, *changes))


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-7", "no_such", "rot13", "hex", "idna"])
def test_an_encoding_that_is_not_read(encoding, tmp_path):
    made = tmp_path / "declared.xml"
    made.write_text(f'<?xml version="1.0" encoding="{encoding}"?>\n{Path(RING).read_text()}')
    with pytest.raises(BadCall, match=r"declared\.xml:1: .*save it as UTF-8"):
        parse(str(made))


def test_a_file_that_is_not_there_and_calls_that_it_is_not_for(tmp_path):
    with pytest.raises(BadCall, match="cannot read the algorithm"):
        prepare(Call("all_reduce", group(), 4), str(tmp_path / "none.xml"))
    with pytest.raises(BadCall, match="not for all_gather"):
        prepare(Call("all_gather", group(), 4), RING)
    with pytest.raises(BadCall, match="4 ranks, and the group has 3"):
        prepare(Call("all_reduce", group(3), 4), RING)
    with pytest.raises(BadCall, match="for example -b 16"):
        prepare(Call("all_reduce", group(), 6), RING)
    small = changed(tmp_path, RING, ('maxBytes="0"', 'maxBytes="64"'))
    with pytest.raises(BadCall, match="meant for 0 to 64 bytes"):
        prepare(Call("all_reduce", group(), 64), small)


def others(kind: str, inplace: int) -> str:
    """Two ranks: all_gather, reduce_scatter or all_to_all of two chunks each."""
    rows = []
    for rank in range(2):
        peer, put = 1 - rank, f'srcbuf="i" srcoff="{0 if kind == "allgather" else 1 - rank}"'
        own = f'dstbuf="o" dstoff="{0 if kind == "reducescatter" else rank}"'
        theirs = f'dstbuf="o" dstoff="{0 if kind == "reducescatter" else peer}"'
        keep = f'srcbuf="i" srcoff="{0 if kind == "allgather" else rank}"'
        arrive = f'type="rrc" {keep}' if kind == "reducescatter" else 'type="r"'
        local = "" if kind == "reducescatter" else f'<step s="2" type="cpy" {keep} {own} cnt="1"/>'
        rows.append(
            f'<gpu id="{rank}" i_chunks="2" o_chunks="2" s_chunks="0"><tb id="0" send="{peer}" recv="{peer}" chan="0">'
            f'<step s="0" type="s" {put} cnt="1"/><step s="1" {arrive} {theirs} cnt="1"/>{local}</tb></gpu>'
        )
    head = f'name="two" coll="{kind}" ngpus="2" nchunksperloop="2" inplace="{inplace}" outofplace="{1 - inplace}"'
    return f"<algo {head}>{''.join(rows)}</algo>"


@pytest.mark.parametrize(
    ("kind", "ours", "inplace"),
    [("allgather", "all_gather", 0), ("allgather", "all_gather", 1), ("reducescatter", "reduce_scatter", 0),
     ("reducescatter", "reduce_scatter", 1), ("alltoall", "all_to_all", 0)],
)  # fmt: skip
def test_the_other_collectives(kind, ours, inplace, tmp_path, box):
    path = tmp_path / "two.xml"
    path.write_text(others(kind, inplace))
    for in_place in (False, True) if inplace else (False,):
        call = Call(ours, group(2), 32, in_place=in_place)
        plan = prepare(call, str(path)).plan
        check_plan(plan, box(2))
        for pick in (earliest, latest):
            assert wrong_elements(call, plan, pick) == [0, 0]


@pytest.mark.parametrize("path", [RING, ALLPAIRS])
def test_the_command_line(path, capsys):
    words = ["collective", "all_reduce", "--ranks", "4", "-b", "1M", "-e", "1M", "--algorithm", path]
    assert main(words) == 0
    assert ".xml/" in capsys.readouterr().out


def test_the_command_line_refuses_a_wrong_one(capsys):
    words = ["collective", "all_reduce", "--ranks", "4", "-b", "1M", "-e", "1M", "--algorithm", BROKEN]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "chunk 1 of the output" in said and "Traceback" not in said
