"""The page that asks before results are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from ptsflow.client import admin
from ptsflow.display.look import Look
from ptsflow.stores.base import Store
from ptsflow.web.live import Seen
from ptsflow.web.pages import Page, Part


class Loss(Struct, frozen=True, kw_only=True):
    """What would be forgotten."""

    names: Sequence[str]
    #: The tasks that are made again if other results come of those.
    in_doubt: Sequence[str]


def loss_of(
    store: Store, look: Look, step: str | None, *, with_downstream: bool
) -> Loss:
    """Return what a reset would forget.

    Raises:
        TaskNotFound: the container has no such step.
    """
    tasks = store.tasks(look.record.uid)
    lost = admin.resettable(
        look.record, tasks, step=step, with_downstream=with_downstream
    )
    alone = step is not None and not with_downstream
    doubt = admin.in_doubt(look.record, tasks, step) if alone and step else []
    return Loss(
        names=[task.name for task in tasks if task.name in lost], in_doubt=doubt
    )


async def loss_page(
    seen: Seen[Look], step: str | None, form: str | None, *, with_downstream: bool
) -> Page:
    """Return the page that shows what would be forgotten.

    Args:
        seen: how the container stands.
        step: the step; None for all.
        form: the field that shows that a form is ours.
        with_downstream: also all that waits for the step.
    """
    question = partial(
        loss_of, look=seen.look, step=step, with_downstream=with_downstream
    )
    found = await seen.ask(("loss", step, with_downstream), question)
    values = {
        "record": seen.look.record,
        "loss": found,
        "step": step,
        "with_downstream": with_downstream,
        "form": form,
        "shown": 50,
    }
    name = seen.look.record.name
    return Page(
        title=f"Reset {name} · ptsflow", parts={"loss": Part("_loss.html", values)}
    )
