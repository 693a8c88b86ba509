"""How many processors a process may use, by its affinity and its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ptsflow.executors import placement
from ptsflow.host.cpus import usable_cpus


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/seen/from/outside", {"cpu.max": "200000 100000"}, 2),
        (
            "4:memory:/m\n1:cpu,cpuacct:/docker/x",
            {
                "cpu/docker/x/cpu.cfs_quota_us": "250000",
                "cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            "1:cpu:/",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            8,
        ),
        ("what is this", {"cpu.max": "100000 100000"}, 8),
        ("0::/", {"cpu.max": "what is this"}, 8),
    ],
)
def test_affinity_and_quotas_count(
    groups: str,
    files: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    listed = tmp_path / "cgroup"
    listed.write_text(groups, encoding="utf-8")

    assert usable_cpus(listed, tmp_path / "mount") == expected


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    there = len(os.sched_getaffinity(0))

    assert usable_cpus(tmp_path / "none", tmp_path) == there


def test_what_python_was_told_counts_instead_of_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)

    assert usable_cpus(tmp_path / "none", tmp_path) == 3


@pytest.mark.parametrize(("usable", "expected"), [(1, 5), (3, 7), (64, 32)])
def test_without_a_number_bodies_run_on_the_processors_that_are_usable(
    monkeypatch: pytest.MonkeyPatch, usable: int, expected: int
) -> None:
    monkeypatch.setattr(placement, "usable_cpus", lambda: usable)

    assert placement.default_jobs() == expected
