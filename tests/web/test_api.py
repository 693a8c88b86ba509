"""What programs are told: the objects that the command line prints."""

from __future__ import annotations

import json
from typing import Any

from starlette.testclient import TestClient

from tests.web.serving import Shelf


def told(client: TestClient, path: str) -> Any:
    """Return what an address tells."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.text)


def test_containers_are_told_as_list_prints_them(
    looking: TestClient, stored: Shelf
) -> None:
    found = told(looking, "/api/containers")

    assert {entry["container"] for entry in found} >= set(stored.names.values())
    assert all(entry["schema"] == 1 for entry in found)
    assert {"status", "percentage_complete", "eta_seconds", "uid"} <= found[0].keys()


def test_containers_come_by_pages(looking: TestClient) -> None:
    every = [entry["uid"] for entry in told(looking, "/api/containers")]
    first = told(looking, "/api/containers?limit=2")
    rest = told(looking, f"/api/containers?before={first[-1]['uid']}")

    assert [entry["uid"] for entry in (*first, *rest)] == every


def test_a_container_is_told_with_its_plan(looking: TestClient, stored: Shelf) -> None:
    for name, uid in stored.uids.items():
        entry = told(looking, f"/api/c/{uid}")
        assert entry["container"] == stored.names[name]
        assert isinstance(entry["plan"], list)


def test_tasks_are_told_by_pages_and_one_with_its_attempts(
    looking: TestClient, stored: Shelf
) -> None:
    for uid in stored.uids.values():
        found = told(looking, f"/api/c/{uid}/tasks?limit=1")
        assert len(found["tasks"]) == min(1, found["total"])
        for task in found["tasks"]:
            one = told(looking, f"/api/c/{uid}/task?name={task['name']}")
            assert one["name"] == task["name"]
            assert isinstance(one["attempts"], list)


def test_runs_and_errors_are_told(looking: TestClient) -> None:
    runs = told(looking, "/api/runs")
    errors = told(looking, "/api/errors")

    assert {"container", "status", "took_seconds", "eta_error"} <= runs[0].keys()
    assert {"step", "error_type", "message", "containers"} <= errors[0].keys()


def test_what_is_not_there_is_not_found(looking: TestClient, stored: Shelf) -> None:
    uid = next(iter(stored.uids.values()))

    paths = ("/api/c/nope", f"/api/c/{uid}/task?name=nope", "/api/nope")

    assert [looking.get(path).status_code for path in paths] == [404] * 3


def test_metrics_are_told_as_the_command_prints_them(looking: TestClient) -> None:
    answer = looking.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'ptsflow_containers{status="failed",workflow="' in answer.text
    assert "ptsflow_last_success_timestamp_seconds{" in answer.text
