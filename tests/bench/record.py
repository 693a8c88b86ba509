"""Record runs of the examples, for `eta.py` to replay.

    python tests/bench/record.py [epf_import] [verify_packages]

The feed spoils three requests of ten. The runs take seconds, not hours, so what waits for
its next attempt waits for a tenth of a second at first, not for two. Every run is one of a
container of its own, in a store of its own. On a busy machine record with `nice -n -15`:
else it is the other processes that are recorded.
"""

# ruff: noqa: T201 - it prints what it does.

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ptsflow  # noqa: E402 - found from the repository as it stands
from ptsflow import Workflow  # noqa: E402
from ptsflow.workflow.loading import load  # noqa: E402
from tests.bench.recordings import Recorder, Recording, write  # noqa: E402

EXAMPLES = ROOT / "examples"
FIRST_HOUR = datetime(2025, 3, 1, tzinfo=UTC)


@contextmanager
def feed() -> Iterator[str]:
    """Serve the feed; yield its address."""
    script = EXAMPLES / "epf_server.py"
    newest = FIRST_HOUR + timedelta(hours=100)
    command = [sys.executable, str(script), "--port", "0", "--faults", "0.3"]
    command += ["--hour", f"{newest:%Y%m%dT%H}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def record(
    make: Callable[[int], Workflow], *, runs: int, jobs: int
) -> Iterator[Recording]:
    """Run workflow objects one after the other; yield the recordings of those done."""
    for number in range(runs):
        recorder = Recorder()
        with tempfile.TemporaryDirectory() as folder:
            report = ptsflow.run(
                make(number),
                store=f"sqlite:///{folder}/store.db",
                jobs=jobs,
                listeners=[recorder],
            )
        recording = recorder.recording(jobs)
        print(number, report.ok, recording.took, len(recording.moments), flush=True)
        if report.ok:
            yield recording


def epf_import() -> None:
    """Record 30 imports of the feed."""
    os.environ["EPF_RETRY_DELAY"] = "0.1"
    kind = load(str(EXAMPLES / "epf_import.py"), Workflow)
    with feed() as server, tempfile.TemporaryDirectory() as folder:

        def make(number: int) -> Workflow:
            hour = FIRST_HOUR + timedelta(hours=number)
            made = kind(hour=hour.replace(tzinfo=None), server=server, folder=folder)
            assert isinstance(made, Workflow)
            return made

        print(write("epf_import", record(make, runs=30, jobs=6)))


def verify_packages() -> None:
    """Record 10 checks of the packages of this Python."""
    kind = load(str(EXAMPLES / "verify_packages.py"), Workflow)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.txt"
        recorded = record(lambda _: kind(report=report), runs=10, jobs=2)
        print(write("verify_packages", recorded))


if __name__ == "__main__":
    for name in sys.argv[1:] or ["epf_import", "verify_packages"]:
        {"epf_import": epf_import, "verify_packages": verify_packages}[name]()
