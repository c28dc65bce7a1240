"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server."""

    def __init__(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("superfine_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.jobs = Counter("superfine_jobs", "Jobs that ended.", ["model", "state"], registry=registry)
        self.pixels = Counter("superfine_result_pixels", "Pixels of the results made.", ["model"], registry=registry)
        buckets = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
        self.seconds = Histogram(
            "superfine_job_seconds", "From the queue's end to the result.", buckets=buckets, registry=registry
        )
        Gauge("superfine_jobs_waiting", "Jobs in the queue.", registry=registry).set_function(waiting)
        Gauge("superfine_jobs_running", "Jobs under way.", registry=registry).set_function(running)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
