"""What is not needed is not loaded: start-up is part of every run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.calling import Place

HEAVY = (
    *("pymongo", "mongoengine", "bson"),
    *("rich", "tenacity", "asyncio", "pydantic", "httpx"),
    *("starlette", "uvicorn", "jinja2", "markupsafe"),
)

#: Modules of Python that only some runs need.
RARE = ("dataclasses", "difflib", "hashlib", "logging", "random", "shutil", "string")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import ptsflow", id="import ptsflow"),
        pytest.param("import ptsflow.cli", id="the command line"),
        pytest.param(
            "import ptsflow\n"
            "class W(ptsflow.Workflow):\n"
            "    @ptsflow.step\n"
            "    def a(self): return 1\n"
            "assert ptsflow.run(W(), 'sqlite:///light.db').ok",
            id="a run on SQLite",
        ),
    ],
)
def test_it_loads_no_driver_of_mongodb_and_no_screen(place: Place, code: str) -> None:
    tell = f"\nimport sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + tell],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_importing_ptsflow_loads_nothing_that_only_some_runs_need(place: Place) -> None:
    code = f"import sys, ptsflow; print([m for m in {RARE!r} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {code}"],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")
