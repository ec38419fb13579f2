"""The tables that are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.load import Report
from bench.measure import OTHERS_MAX
from bench.rows import RATIOS, Ratio

Rounds = Sequence[Mapping[str, Report]]  # of each round: row → report


def ratio_table(rounds: Rounds) -> str:
    """Each ratio beside its bars."""
    lines = [f"{'ratio (of one round)':34} {'median':>7} {'min–max':>13}   bar            stretch"]
    for ratio in RATIOS:
        values = [
            ratio.value(dict(reports)) for reports in rounds if {ratio.row, ratio.of or ratio.row} <= reports.keys()
        ]
        if values:
            lines.append(_ratio_line(ratio, values))
    return "\n".join(lines) if len(lines) > 1 else "No ratio: it takes two rows that are compared."


def row_table(rounds: Rounds) -> str:
    """Each row: medians of the rounds, but the longest latency of all."""
    head = (
        f"{'row':20} {'requests/s':>10} {'min–max':>13} {'CPU µs':>7} {'DB µs':>7}"
        f" {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'load':>5} {'others':>6}"
    )
    return "\n".join([head, *(_row_line(name, _reports(rounds, name)) for name in rounds[0])])


def oddities(rounds: Rounds) -> list[str]:
    """What a reader of the tables should know."""
    found = []
    for number, reports in enumerate(rounds, 1):
        for name, report in reports.items():
            if report.load_cpu_share > 0.9:
                found.append(f"{name}, round {number}: the load generator used {report.load_cpu_share:.0%} of its core")
            if report.others_share > OTHERS_MAX:
                found.append(f"{name}, round {number}: other programs used {report.others_share:.0%} of a core")
            if report.max_ms > 250:
                found.append(f"{name}, round {number}: one answer took {report.max_ms:.0f} ms")
    return found


def _reports(rounds: Rounds, name: str) -> list[Report]:
    return [reports[name] for reports in rounds if name in reports]


def _ratio_line(ratio: Ratio, values: Sequence[float]) -> str:
    middle = median(values)
    sign = "≤" if ratio.at_most else "≥"
    verdicts = [
        f"{sign} {wanted:<4g} {'met' if ratio.meets(middle, wanted) else 'missed':6}"
        for wanted in (ratio.bar, ratio.stretch)
    ]
    return f"{ratio.name:34} {middle:7.2f} {_range(values, '.2f'):>13}   {'  '.join(verdicts)}".rstrip()


def _row_line(name: str, reports: Sequence[Report]) -> str:
    per_second = [report.per_second for report in reports]
    cpu, database, p50, p99, load, others = (
        median(getattr(report, measure) for report in reports)
        for measure in ("server_cpu_us", "database_cpu_us", "p50_ms", "p99_ms", "load_cpu_share", "others_share")
    )
    longest = max(report.max_ms for report in reports)
    return (
        f"{name:20} {median(per_second):10.0f} {_range(per_second, '.0f'):>13} {cpu:7.1f} {database:7.1f}"
        f" {p50:7.2f} {p99:7.2f} {longest:7.1f} {load:5.0%} {others:6.0%}"
    )


def _range(values: Iterable[float], form: str) -> str:
    values = list(values)
    return f"{min(values):{form}}–{max(values):{form}}"
