"""The page of `windtunnel help accuracy` is renewed whole or for some papers, and nothing else of it changes."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "controller" / "cli" / "pages" / "accuracy.md"
sys.path.insert(0, str(ROOT / "scripts"))
import sheet_page  # noqa: E402

OLD = """Words.
<!-- reproductions -->
| paper | error |
| --- | ---: |
| instinfer | 1% |
| c4 | - |
<!-- end reproductions -->
<!-- far off -->
- instinfer, motivation: batch 8
  and 16 (+200 %): swapped
- packet_spraying, packets: REPS (no value of ours): none
<!-- end far off -->
The end.
"""


def table(*rows: str) -> str:
    return "\n".join(("| paper | error |", "| --- | ---: |", *rows))


def test_the_lines_of_a_paper_take_their_place_in_the_order_of_the_table():
    new = [("reproductions", table("| lamina | 3% |")), ("far off", "- lamina, first: a row (-80 %): unknown")]
    page = sheet_page.renewed(OLD, new, ["lamina"])
    assert "| instinfer | 1% |\n| lamina | 3% |\n| c4 | - |\n<!-- end" in page
    assert "(+200 %): swapped\n- lamina, first: a row (-80 %): unknown\n- packet_spraying" in page
    assert page.startswith("Words.\n<!--") and page.endswith("-->\nThe end.\n")
    # A second time changes nothing, and other figures replace the first.
    assert sheet_page.renewed(page, new, ["lamina"]) == page
    again = sheet_page.renewed(page, [("reproductions", table("| lamina | 4% |")), ("far off", "- none")], ["lamina"])
    assert "3%" not in again and "| lamina | 4% |" in again and "- lamina" not in again and "- none" not in again


def test_a_section_without_papers_is_replaced_and_its_points_are_wrapped():
    page = sheet_page.renewed(OLD, [("far off", "- c4, figure: " + "far " * 40 + "off")])
    assert "packet_spraying" not in page and "| c4 | - |" in page
    assert max(map(len, page.splitlines())) <= sheet_page.WIDTH
    assert sheet_page.renewed(OLD, [("far off", "- none")], ["instinfer", "packet_spraying"]).count("\n- none\n") == 1


@pytest.mark.parametrize("broken", ["<!-- far off -->", "<!-- end far off -->"])
def test_a_page_without_its_markers_is_left_alone(tmp_path, capsys, broken):
    (page := tmp_path / "page.md").write_text(OLD.replace(broken, ""))
    (text := tmp_path / "far").write_text("- none")
    assert sheet_page.main([str(page), "far off", str(text)]) == 1
    assert "nothing was written" in capsys.readouterr().err and page.read_text() == OLD.replace(broken, "")


def test_the_page_itself_has_every_section_and_names_papers_of_the_table():
    text = PAGE.read_text(encoding="utf-8")
    sections = {name: text.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0].strip() for name in (
        "reproductions", "far off", "error sheet",
    )}  # fmt: skip
    for name in ("reproductions", "far off"):
        assert sheet_page.merged(sections[name], sections[name], list(sheet_page.PAPERS)) == sections[name]
