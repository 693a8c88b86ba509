"""What the pages show of schedules: the next ticks, pauses, and what is late."""

from __future__ import annotations

from msgspec.structs import replace

from ptsflow.stores.base import Store
from tests.stores.making import schedule
from tests.web.conftest import MakeClient
from tests.web.markup import Markup, crawl
from tests.web.test_pages import shown

HOUR = 3_600_000
DAY = 24 * HOUR


def test_what_is_late_stands_on_the_first_page(store: Store, page: MakeClient) -> None:
    now = store.now()
    store.swap_schedule(None, schedule("Feed & <b>", since=now - 3 * HOUR))
    client = page()

    text = shown(client.get("/")).text

    assert "Late" in text
    assert text.count("is late: due") in (2, 3)  # The newest has ten minutes.
    assert "Feed & <b>" in text
    for address, answer in crawl(client.get, "/"):
        assert answer.status_code == 200, address
        assert Markup(answer.text).dangers == [], address


def test_what_is_in_time_is_no_news(store: Store, page: MakeClient) -> None:
    store.swap_schedule(None, schedule(since=store.now()))

    assert "Late" not in shown(page().get("/")).text


def test_the_page_of_a_workflow_shows_its_schedule(
    store: Store, page: MakeClient
) -> None:
    now = store.now()
    kept = schedule(cron="0 0 1 1 *", since=0, overlap="latest", catch_up_ms=400 * DAY)
    store.swap_schedule(None, kept)
    client = page()

    text = shown(client.get("/w/Feed")).text
    store.swap_schedule(
        kept, replace(kept, paused_at=now, paused_by="ada on vm", why="it moves")
    )
    paused = shown(client.get("/w/Feed")).text

    assert "0 0 1 1 * (UTC); latest: only the newest tick runs" in text
    assert "Next" in text
    assert text.count("is late: due") == 1
    assert "Feed is paused since " in paused
    assert "by ada on vm: it moves" in paused
    assert "is late" not in paused
