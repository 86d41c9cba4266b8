"""The page of a run with faults holds what it promises, and nothing that it was given goes in unescaped."""

import numpy as np

from controller.diagnosis.entries import CampaignEntry, Injected
from controller.diagnosis.verdicts import Suspect, Verdict
from controller.report.fault_page import FaultReport, entry_report, fault_sections, write_fault_report
from tests.support.small_jobs import campaign


def test_a_hang_shows_the_matrix_the_graph_and_the_verdict(tmp_path) -> None:
    entry = CampaignEntry(0, (Injected("hang", "gpu5", 1.0),), 45, 20)
    report = entry_report(campaign("ring", 8), entry)
    assert report.guilty == ["gpu5"]
    write_fault_report(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for title in ("truth and verdicts", "verdicts", "delay matrix", "who waits for whom"):
        assert f">{title}<" in page
    assert "device gpu5" in page
    write_fault_report(entry_report(campaign("ring", 8), entry), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_a_ledger_is_a_bar_and_a_table() -> None:
    sections = fault_sections(FaultReport("page", ledger_s={"useful": 90.0, "lost": 10.0}))
    assert [section.title for section in sections] == ["ledger", "where the time went"]


def test_texts_are_escaped(tmp_path) -> None:
    verdict = Verdict(Suspect("device", "<b>"), "slow", 0.0, 2.0, 0.9, "<script>")
    report = FaultReport("<title>", verdicts=[(1.0, "default", verdict)], end_at=2.0, delays_s=np.full((2, 2), np.nan))
    write_fault_report(report, tmp_path / "page.html")
    assert "<script>alert" not in (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;" in (tmp_path / "page.html").read_text()
