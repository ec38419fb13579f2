"""What `/metrics` shows: the numbers that the engine, the store and the APIs keep, in the text format of Prometheus.

The parts of the program count in plain integers of their own, and know nothing of this; here they are read when
somebody asks. A labelled counter of the library would cost every request 5 µs.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from userfold import __version__
from userfold.api.wire import Api, Service
from userfold.engine import BATCH_SIZES
from userfold.storage.port import COMMIT_MS

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Renders what was counted since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def render(self, service: Service, apis: Sequence[Api]) -> bytes:
        """The text that Prometheus reads (exposition format 0.0.4)."""
        own = CollectorRegistry()
        own.register(_Collector(service, apis, time.monotonic() - self._started))
        return generate_latest(own) + generate_latest(self._process)


class _Collector:
    """The numbers as they are when it is asked."""

    def __init__(self, service: Service, apis: Sequence[Api], uptime_s: float) -> None:
        self._service = service
        self._apis = apis
        self._uptime_s = uptime_s

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are compared between collectors, and here is only one."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics of our own. docs/reference/metrics.md lists them."""
        yield InfoMetricFamily(
            "userfold_build", "What runs", {"version": __version__, "python": platform.python_version()}
        )
        yield GaugeMetricFamily("userfold_uptime_seconds", "Since the program started", self._uptime_s)
        yield from self._of_apis()
        yield from self._of_engine()
        yield from self._of_store()

    def _of_apis(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "userfold_http_requests", "Answered requests", labels=["api", "method", "route", "status"]
        )
        refusals = CounterMetricFamily("userfold_refusals", "Refused requests", labels=["api", "code"])
        for api in self._apis:
            for answered in api.answered():
                for first_digit, count in enumerate(answered.by_class):
                    if count:
                        path = api.path_of(answered.route)
                        requests.add_metric([api.name, answered.route.method, path, f"{first_digit}xx"], count)
            for code, count in api.refusals.items():
                refusals.add_metric([api.name, code], count)
        yield requests
        yield refusals
        limits = self._service.rate_limits
        limited = CounterMetricFamily("userfold_rate_limited", "Calls beyond a rate limit", labels=["kind"])
        for kind, count in limits.refused.items():
            limited.add_metric([kind], count)
        yield limited
        yield GaugeMetricFamily("userfold_rate_limit_buckets", "Callers that are counted", len(limits))

    def _of_engine(self) -> Iterator[Metric]:
        engine, counters = self._service.engine, self._service.engine.counters
        yield CounterMetricFamily("userfold_commands", "Commands that a batch answered", counters.commands)
        yield CounterMetricFamily("userfold_updates", "Commands that changed something", counters.updates)
        yield CounterMetricFamily("userfold_batches", "Batches that were stored", counters.batches)
        sizes = HistogramMetricFamily("userfold_batch_size", "Commands in a batch")
        sizes.add_metric([], _buckets(BATCH_SIZES, counters.batch_sizes), counters.commands)
        yield sizes
        failed = CounterMetricFamily("userfold_batches_failed", "Batches that were not stored", labels=["code"])
        for code, count in counters.failed.items():
            failed.add_metric([code], count)
        yield failed
        yield CounterMetricFamily("userfold_overloaded", "Commands for which there was no room", counters.overloaded)
        yield GaugeMetricFamily("userfold_queue_length", "Commands that wait", engine.waiting)
        yield GaugeMetricFamily("userfold_queue_bytes", "Size of the requests that wait", engine.waiting_bytes)

    def _of_store(self) -> Iterator[Metric]:
        counters = self._service.store.counters
        commits = HistogramMetricFamily("userfold_commit_seconds", "How long commits took")
        seconds = [ms / 1000 for ms in COMMIT_MS]
        commits.add_metric([], _buckets(seconds, counters.commits_by_ms), counters.commit_ms / 1000)
        yield commits
        yield CounterMetricFamily("userfold_conflicts", "Attempts that other writers came between", counters.conflicts)
        yield GaugeMetricFamily("userfold_wal_pages", "Pages of the write-ahead log", counters.log_pages)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as the format wants them."""
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
