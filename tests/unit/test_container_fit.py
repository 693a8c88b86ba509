"""What of a stored container a run compares with its own."""

from __future__ import annotations

from functools import partial

import pytest

from ptsflow import Workflow
from ptsflow.core.container_fit import parameters_of
from ptsflow.core.model import ContainerRecord
from ptsflow.display import as_json
from ptsflow.display.next_command import secrets_of
from ptsflow.errors import StoreDamaged
from ptsflow.workflow.stored_parameters import removed_parameters
from tests.support.wording import THEIRS, Message


@pytest.mark.parametrize("text", ["{", "[]", '{"day": 1}', '"day"', "7"])
def test_parameters_that_ptsflow_did_not_write_are_damage(text: str) -> None:
    record = ContainerRecord(uid="1", name="feed", params=text)

    removed = partial(removed_parameters, Workflow)
    for read in (parameters_of, as_json.params, secrets_of, removed):
        with pytest.raises(StoreDamaged) as caught:
            read(record)
        assert str(caught.value) == Message(
            "container 'feed': expected its parameters as ptsflow writes them, found "
            f"something else: {THEIRS}; restore the store from a copy"
        )


def test_a_container_of_clients_has_no_parameters() -> None:
    assert parameters_of(ContainerRecord(uid="1", name="feed")) == {}
