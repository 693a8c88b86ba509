"""Every field of every record is read from every store as it was written."""

from __future__ import annotations

import pytest
from msgspec import Struct

from ptsflow.core import insight, model
from ptsflow.stores.base import Store
from tests.stores import round_trips
from tests.stores.round_trips import Trip
from tests.stores.variants import variants


@pytest.mark.parametrize("trip", round_trips.TRIPS, ids=lambda trip: trip.__name__)
def test_every_field_is_read_as_it_was_written(store: Store, trip: Trip) -> None:
    trip(store, "feed")


def test_there_is_a_trip_for_every_record() -> None:
    kinds = {
        name
        for name, value in (vars(model) | vars(insight)).items()
        if isinstance(value, type) and issubclass(value, Struct) and value is not Struct
    }
    within = {"Owner", "StepSummary", "LogLine", "StepStats", "FailedTask"}

    assert kinds == within | {
        *("ContainerRecord", "TaskRecord", "Attempt", "LogChunk", "Progress", "Tally"),
        *("Change", "RunRecord", "Outlook", "Glance", "Spans"),
        "ScheduleRecord",
    }


@pytest.mark.parametrize(
    "kind",
    [
        *(model.TaskRecord, model.StepSummary, model.Attempt),
        *(insight.RunRecord, insight.StepStats, insight.ScheduleRecord),
    ],
)
def test_no_two_fields_of_the_records_that_are_written_are_alike(
    kind: type[Struct],
) -> None:
    made = variants(kind)
    fields = kind.__struct_fields__

    for first in fields:
        for second in fields[: fields.index(first)]:
            assert any(getattr(r, first) != getattr(r, second) for r in made)
