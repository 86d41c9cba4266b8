"""fio, from 2.0 on, as text or as the object that --output-format=json writes.

A rate is that of all jobs of a group that ran at once, on one drive; what one job of many printed is a part of it. A
group tells the sequential rate of a drive when its requests are large, and the latency when one request is in flight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.devices.calibrate.tools.found import NUMBER, Found
from controller.errors import BadMeasurements

LARGE_BYTES = 64 << 10
"""Requests from this size on reach the rate of a drive in any order [bytes]."""
SYNCHRONOUS = ("sync", "psync", "vsync", "pvsync", "pvsync2", "mmap")
"""Engines that keep one request in flight whatever iodepth says."""
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_AMOUNT = rf"{NUMBER}([KMGkmg]?i?)(B|b|bit)/s"


@dataclass(slots=True)
class JobGroup:
    """Jobs that ran at once.

    Attributes:
        order: of its requests, ``read``, ``randwrite``; "" when the output does not say.
        request_bytes: size of one [bytes]; 0 when the output does not say.
        depth: requests that one job keeps in flight; 0 when the output does not say.
        jobs: that were reported.
        rates: by direction, of all of them together [bytes/s].
        waits: by direction, mean latency of a request [s], one entry a report.
    """

    order: str = ""
    request_bytes: int = 0
    depth: int = 0
    jobs: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        """Whether reads and writes ran at once, so that each is less than alone."""
        return (
            self.order in ("rw", "readwrite", "randrw") or len([rate for rate in self.rates.values() if rate > 0]) > 1
        )


def read_fio(text: str, where: str) -> list[Found]:
    """Rates and latencies of one drive.

    Raises:
        BadMeasurements: several drives, jobs that failed or are missing, or requests that tell no constant.
    """
    if terse := re.search(r"^\d;fio-[\w.-]+;", text, re.MULTILINE):
        raise BadMeasurements(
            f"{where}: the terse output of fio ({terse[0]}...) says neither order nor size of the requests, so it "
            f"cannot be told which constant it is; paste the normal one, or that of --output-format=json"
        )
    document = _document(text)
    if document is not None:
        _refuse_what_failed(document, where)
        groups = _groups_of(document)
    else:
        _refuse_what_is_not_whole(text, where)
        groups = _groups(text)
    best: dict[str, tuple[float, Found]] = {}
    why: list[str] = []
    for number, group in groups.items():
        for kind, rate in group.rates.items():
            found = _constant(group, kind, rate, f"{where}: group {number}", why)
            if found is not None and (found.path not in best or rate > best[found.path][0]):
                best[found.path] = rate, found
    if not best and why:
        raise BadMeasurements(why[0])
    return [found for _, found in best.values()]


def _constant(group: JobGroup, kind: str, rate: float, where: str, why: list[str]) -> Found | None:
    if rate <= 0:
        return None
    if group.mixed:
        why.append(f"{where}: reads and writes ran at once, and each took from the other; run --rw={kind} alone")
        return None
    jobs = max(1, group.jobs)
    size = f" of {group.request_bytes} bytes" if group.request_bytes else ""
    if group.depth * jobs == 1 and group.waits.get(kind) and group.request_bytes < 1 << 20:
        wait_s = sum(group.waits[kind]) / len(group.waits[kind])
        said = f"fio, {kind}{size} at queue depth 1"
        return Found(f"flash.{kind}_latency", f"{wait_s * 1e6:.6g} us", said)
    if group.order.startswith("rand") and 0 < group.request_bytes < LARGE_BYTES:
        why.append(
            f"{where}: {group.order} with requests{size} is a rate of requests and not of bytes; run --rw={kind} "
            f"--bs=128k for the rate, or --iodepth=1 --numjobs=1 for the latency"
        )
        return None
    count = f"all {jobs} jobs" if jobs > 1 else "all jobs"
    return Found(f"flash.{kind}", f"{rate / 1e6:.6g} MB/s", f"fio, {kind}, {count}")


def _refuse_what_is_not_whole(text: str, where: str) -> None:
    failed = re.search(r"\(groupid=\d+, jobs=\d+\): err=\s*([1-9]\d*)", text)
    if failed is not None:
        raise BadMeasurements(f"{where}: a job ended with error {failed[1]}; paste a run that succeeded")
    started = re.search(r"^Starting (\d+) (?:process|thread)", text, re.MULTILINE)
    reported = sum(int(count) for count in re.findall(r"\(groupid=\d+, jobs=(\d+)\)", text))
    if (
        started is not None
        and not re.search(r"^Run status group", text, re.MULTILINE)
        and 0 < reported < int(started[1])
    ):
        raise BadMeasurements(
            f"{where}: {started[1]} jobs ran and {reported} are reported; paste the whole output, with its last lines"
        )
    stats = text.partition("Disk stats")[2]
    drives = [name for name, rest in re.findall(r"^\s+([\w-]+): ios=(.*)$", stats, re.MULTILINE) if "aggr" not in rest]
    if len(drives) > 1:
        raise BadMeasurements(
            f"{where}: the run was over {len(drives)} drives ({', '.join(drives[:4])}); a sheet is one drive, so "
            f"paste a run on one"
        )


def _groups(text: str) -> dict[int, JobGroup]:
    groups: dict[int, JobGroup] = {}
    now, status = 0, -1
    totals: dict[int, dict[str, float]] = {}
    kind = ""
    for line in text.splitlines():
        if header := re.match(r"^\S.*?: \(g=(\d+)\): rw=(\w+),", line):
            now = int(header[1])
            _describe(groups.setdefault(now, JobGroup()), header[2], line)
        elif job := re.search(r"\(groupid=(\d+), jobs=(\d+)\)", line):
            now = int(job[1])
            groups.setdefault(now, JobGroup()).jobs += int(job[2])
        elif block := re.match(r"^Run status group (\d+)", line):
            status = int(block[1])
        elif status >= 0 and (total := re.match(rf"^\s*(READ|WRITE): .*?(?:bw|aggrb)={_AMOUNT}(.*)$", line)):
            totals.setdefault(status, {})[total[1].lower()] = _rate(line, total[2], total[3], total[4])
        elif report := re.match(rf"^\s*(read|write)\s*: .*?\b(?:BW|bw)={_AMOUNT}", line):
            kind = report[1]
            rates = groups.setdefault(now, JobGroup()).rates
            rates[kind] = rates.get(kind, 0.0) + _rate(line, report[2], report[3], report[4])
        elif (wait := re.match(rf"^\s*lat \((n|u|m)sec\)\s*:.*?avg=\s*{NUMBER}", line)) and kind:
            scale = {"n": 1e-9, "u": 1e-6, "m": 1e-3}[wait[1]]
            groups.setdefault(now, JobGroup()).waits.setdefault(kind, []).append(float(wait[2]) * scale)
    for number, rates in totals.items():
        groups.setdefault(number, JobGroup()).rates = rates
    return groups


def _describe(group: JobGroup, order: str, line: str) -> None:
    size = re.search(r"\bbs=(?:\(R\) )?(\d+(?:\.\d+)?)([KMG]?)", line)
    depth = re.search(r"\biodepth=(\d+)", line)
    engine = re.search(r"\bioengine=([\w-]+)", line)
    group.order = order
    group.request_bytes = int(float(size[1]) * _SIZES[size[2]]) if size else 0
    group.depth = int(depth[1]) if depth else 0
    if engine and engine[1] in SYNCHRONOUS:
        group.depth = 1


def _rate(line: str, amount: str, scale: str, unit: str) -> float:
    """[bytes/s]; fio 3 repeats a rate in units of 1000 in brackets, fio 2 writes MB and means MiB."""
    decimal = re.search(rf"(?:BW|bw)=\S+ \({_AMOUNT}\)", line)
    if decimal is not None:
        amount, scale, unit = decimal[1], decimal[2], decimal[3]
    elif scale and not scale.endswith("i"):
        scale += "i"
    factor = _SCALES[scale[:1].upper() + scale[1:]]
    return float(amount) * factor / (1 if unit == "B" else 8)


def _document(text: str) -> Mapping[str, Any] | None:
    start = text.find("{")
    try:
        # --output-format=normal,json prints its text behind the object.
        found = json.JSONDecoder().raw_decode(text[start:])[0] if start >= 0 else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("jobs"), list) else None


def _refuse_what_failed(document: Mapping[str, Any], where: str) -> None:
    """The same of an object: jobs that failed, and several drives."""
    failed = next((job["error"] for job in document["jobs"] if job.get("error")), None)
    if failed is not None:
        raise BadMeasurements(f"{where}: a job ended with error {failed}; paste a run that succeeded")
    drives = [str(each.get("name")) for each in document.get("disk_util") or () if not each.get("slaves")]
    whole = {str(each.get("name")) for each in document.get("disk_util") or () if "aggr_util" in each}
    drives = [name for name in drives if name not in whole] or drives
    if len(drives) > 1:
        raise BadMeasurements(
            f"{where}: the run was over {len(drives)} drives ({', '.join(drives[:4])}); a sheet is one drive, so "
            f"paste a run on one"
        )


def _groups_of(document: Mapping[str, Any]) -> dict[int, JobGroup]:
    groups: dict[int, JobGroup] = {}
    shared = document.get("global options") or {}
    for job in document["jobs"]:
        options = {**shared, **(job.get("job options") or {})}
        group = groups.setdefault(int(job.get("groupid", 0)), JobGroup())
        group.order = str(options.get("rw", options.get("readwrite", "")))
        size = re.match(r"(\d+)([kKmMgG]?)", str(options.get("bs", options.get("blocksize", "4k"))))
        group.request_bytes = int(size[1]) * _SIZES[size[2].upper()] if size else 0
        group.depth = 1 if options.get("ioengine", "psync") in SYNCHRONOUS else int(options.get("iodepth", 1))
        together = int(options.get("numjobs", 1)) if "group_reporting" in options else 1
        group.jobs += together
        for kind in ("read", "write"):
            half = job.get(kind) or {}
            rate = float(half.get("bw_bytes", 1024.0 * half.get("bw", 0.0)))
            if rate > 0:
                group.rates[kind] = group.rates.get(kind, 0.0) + rate
                wait = (half.get("lat_ns") or {}).get("mean")
                if wait:
                    group.waits.setdefault(kind, []).append(float(wait) * 1e-9)
    return groups
