"""Metrics in the text format of Prometheus; the only file that knows prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ptsflow.core.insight import RunRecord
from ptsflow.core.workflow_figures import STATUSES, WorkflowFigures

#: The type of content that `exposition` returns, as HTTP names it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(figures: Sequence[WorkflowFigures], now: int) -> str:
    """Return metrics as Prometheus reads them.

    Args:
        figures: how each workflow stands.
        now: the time.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(figures, now))
    return generate_latest(registry).decode()


class _Figures(Collector):
    """Collects what was read, as metrics."""

    def __init__(self, figures: Sequence[WorkflowFigures], now: int) -> None:
        self._figures = figures
        self._now = now

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        containers = GaugeMetricFamily(
            "ptsflow_containers",
            "Containers by how they stand.",
            labels=["workflow", "status"],
        )
        for each in self._figures:
            for status in STATUSES:
                number = each.containers.get(status, 0)
                containers.add_metric([each.workflow, str(status)], number)
        yield containers
        for name, text in _TEXTS.items():
            family = GaugeMetricFamily(f"ptsflow_{name}", text, labels=["workflow"])
            for each in self._figures:
                value = _values(each, self._now)[name]
                if value is not None:
                    family.add_metric([each.workflow], value)
            yield family


_TEXTS = {
    "last_success_timestamp_seconds": "When a run last completed a container.",
    "last_duration_seconds": "How long that run took.",
    "last_run_retries": "Attempts of the last run after one that failed or crashed.",
    "failed_tasks": "Tasks that are failed in containers that are not complete.",
    "progress_ratio": "How much of the newest container that runs is complete, 0 to 1.",
    "eta_seconds": "Seconds until all that runs is expected to be complete.",
    "overdue": "Ticks of its schedule that should be done by now and are not.",
}


def _values(of: WorkflowFigures, now: int) -> dict[str, float | None]:
    """Return the value of each metric; None where there is none."""
    return {
        "last_success_timestamp_seconds": _seconds(
            None if of.last_done is None else of.last_done.ended_at
        ),
        "last_duration_seconds": _seconds(_took(of.last_done)),
        "last_run_retries": None if of.last_ended is None else of.last_ended.retries,
        "failed_tasks": of.failed_tasks,
        "progress_ratio": None if of.percentage is None else of.percentage / 100,
        "eta_seconds": None if of.eta_at is None else max(0, of.eta_at - now) / 1000,
        "overdue": of.overdue,
    }


def _took(run: RunRecord | None) -> int | None:
    return None if run is None else (run.ended_at or run.began_at) - run.began_at


def _seconds(millis: int | None) -> float | None:
    return None if millis is None else millis / 1000
