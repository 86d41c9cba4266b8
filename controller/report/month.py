"""A month of a job under failures, as JSON and as text."""

from __future__ import annotations

from typing import Any

from controller.errors import duration_text
from controller.faults.month.summary import MonthSummary

NAMES = {
    "useful": "useful", "lost": "lost", "detect": "detection", "diagnose": "diagnosis", "reinit": "re-initialisation",
    "slow": "slow", "stall": "stall",
}  # fmt: skip


def month_json(found: MonthSummary) -> dict[str, Any]:
    """The object of ``fault month --json``."""
    job = found.job
    return {
        "rates": job.rates.name,
        "gpus": job.gpus,
        "hosts": job.hosts,
        "spares": job.spares,
        "checkpoints": job.checkpoints.name,
        "interval_s": job.checkpoints.interval_s,
        "write_s": job.checkpoints.stall_s,
        "recovery": job.recovery.name,
        "months": found.months,
        "ettr": found.ettr,
        "ettr_p5": found.ettr_range[0],
        "ettr_p95": found.ettr_range[1],
        "goodput": found.goodput,
        "ledger": dict(found.ledger),
        "wall_s": found.wall_s,
        "failures": found.failures,
        "torn_checkpoints": found.torn,
        "both_copies_lost": found.both_lost,
        "mttf_s": found.mttf_s,
        "mttf_standard_error": found.mttf_error,
        "theory": dict(found.theory),
        "best_interval_s": dict(found.intervals_s),
        "source": job.rates.source,
        "assumed": job.rates.assumed,
    }


def month_text(found: MonthSummary) -> str:
    """Lines for people."""
    job, theory = found.job, found.theory
    each = found.months
    lines = [
        f"{job.gpus} GPUs on {job.hosts} hosts, {each} month{'s' * (each > 1)} of {job.for_s / 86400:g} days at the "
        f"rates {job.rates.name}",
        f"  {job.rates.source}",
        f"  assumed: {job.rates.assumed}",
        f"  {job.checkpoints.name} checkpoints every {duration_text(job.checkpoints.interval_s)}, each stalls "
        f"{duration_text(job.checkpoints.stall_s)}; recovery: {job.recovery.name}",
        "",
        f"ETTR      {found.ettr:.4f}   (months: {found.ettr_range[0]:.4f} to {found.ettr_range[1]:.4f}; renewal "
        f"formula {theory['ettr']:.4f}, first order {theory['first_order_ettr']:.4f})",
        f"goodput   {found.goodput:.4f}",
    ]
    if found.mttf_s is not None and found.mttf_error is not None:
        lines.append(
            f"MTTF      {found.mttf_s / 3600:.3f} h   (+- {100 * found.mttf_error:.1f} %; 1 / (n r) is "
            f"{theory['mttf_s'] / 3600:.3f} h)"
        )
    lines.append(
        f"failures  {found.failures / each:.1f} a month; {found.torn} torn checkpoints, {found.both_lost} times every "
        f"fast copy lost"
    )
    if found.intervals_s:
        best = ", ".join(f"{name} {value / 60:.2f} min" for name, value in found.intervals_s.items())
        lines.append(f"interval  {best}")
    lines += ["", f"{'hours a month':<18} {'':>10} {'share':>9}"]
    for row, value in found.ledger.items():
        lines.append(f"{NAMES[row]:<18} {value / each / 3600:>10.3f} {100 * value / found.wall_s:>8.3f}%")
    lines.append(f"{'wall time':<18} {found.wall_s / each / 3600:>10.3f} {100:>8.3f}%")
    return "\n".join(lines)
