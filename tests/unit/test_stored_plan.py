"""A stored plan that somebody edited is told from one that a run wrote."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from ptsflow.core.model import StepSummary
from ptsflow.core.stored_plan import misfit
from tests.unit.test_scheduler_model import random_crowd, random_plan


@pytest.mark.parametrize("seed", range(100))
def test_what_a_run_writes_fits(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret.
    plan = chance.choice([random_plan, random_crowd])(chance)

    assert misfit(plan.summary()) is None


@pytest.mark.parametrize("tolerate", [0, 3, "2%", "0.5%", "1e1%", " 5%"])
def test_all_that_a_step_may_tolerate_fits(tolerate: int | str) -> None:
    assert misfit([StepSummary(name="a", tolerate=tolerate)]) is None


@pytest.mark.parametrize(
    ("edited", "found"),
    [
        ({"needs": ("c",)}, "step 'b' that waits for 'c', which is no step before it"),
        ({"takes": ("b",)}, "step 'b' that waits for 'b', which is no step before it"),
        ({"each": ""}, "step 'b' that waits for '', which is no step before it"),
        ({"above": 2}, "step 'b' that waits for the first 2 steps"),
        ({"above": -1}, "step 'b' that waits for the first -1 steps"),
        ({"name": "a"}, "two steps 'a'"),
        ({"weight": -1.0}, "step 'b' of weight -1.0"),
        ({"weight": math.nan}, "step 'b' of weight nan"),
        ({"weight": math.inf}, "step 'b' of weight inf"),
        ({"tolerate": -1}, "step 'b' that tolerates -1"),
        ({"tolerate": "some"}, "step 'b' that tolerates 'some'"),
        ({"tolerate": "x%"}, "step 'b' that tolerates 'x%'"),
        ({"tolerate": "nan%"}, "step 'b' that tolerates 'nan%'"),
    ],
)
def test_what_no_run_can_have_written_is_named(
    edited: dict[str, Any], found: str
) -> None:
    steps = [StepSummary(name="a"), StepSummary(**{"name": "b"} | edited)]
    steps.append(StepSummary(name="c"))

    assert misfit(steps) == found
