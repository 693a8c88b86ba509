"""Three steps; kill it in the middle and run it again: only what is left runs."""

from __future__ import annotations

import time

from ptsflow import TaskHandle, Workflow, step


class Hello(Workflow):
    """Greets some people, slowly."""

    @step
    def people(self) -> list[str]:
        """Find out whom to greet."""
        return ["Ada", "Grace", "Edsger", "Barbara"]

    @step(each=people)
    def greet(self, person: str, task: TaskHandle) -> str:
        """Greet one of them."""
        for _ in task.track(range(10)):
            time.sleep(0.01)
        return f"Hello, {person}!"

    @step
    def report(self, greet: list[str]) -> str:
        """Put the greetings together."""
        return "\n".join(greet)
