"""What a body does to a parameter, no other body and no later run can see."""

from __future__ import annotations

import ptsflow
from ptsflow import Workflow, step


class Tagged(Workflow):
    tags: list[str]

    @step
    def change(self) -> list[str]:
        self.tags.append("mine")
        return self.tags

    @step
    def look(self) -> list[str]:
        return self.tags


def test_a_list_changed_by_one_body_is_as_given_for_the_next(url: str) -> None:
    report = ptsflow.run(Tagged(tags=["given"]), url)

    assert report.result("change") == ["given", "mine"]
    assert report.result("look") == ["given"]
