"""What the page changes with --actions, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ptsflow import run
from ptsflow.core.model import Owner, Status, Stop
from ptsflow.stores.base import Store
from tests.web.conftest import PORT, MakeClient
from tests.web.flows import Import
from tests.web.serving import uid_of

ORIGIN = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


@pytest.fixture
def uid(url: str) -> str:
    """Return the uid of a container with a failed item."""
    report = run(Import(sound=False), url)
    assert not report.ok
    return uid_of(url, "import:13")


def form_of(client: TestClient, path: str) -> str:
    """Return the field of the forms on a page."""
    found = re.search(r'name="form" value="([0-9a-f]+)"', client.get(path).text)
    assert found
    return found[1]


def post(client: TestClient, path: str, **fields: str) -> str:
    """Send a form of the page; return what the page says then."""
    form = form_of(client, f"/c/{uid_in(path)}" if path.startswith("/c/") else path)
    answer = client.post(
        path if path.startswith("/c/") else f"{path}/retry",
        data={"form": form, **fields},
        headers={"Origin": ORIGIN},
    )
    assert answer.status_code == 303, answer.text
    page = client.get(answer.headers["location"]).text
    said = re.search(r'<p class="said" role="status">(.*?)</p>', page)
    assert said
    # It is said once.
    assert (
        "said"
        not in client.get(answer.headers["location"]).text.split("<main")[1][:300]
    )
    return said[1]


def uid_in(path: str) -> str:
    return path.split("/")[2]


def test_what_failed_is_tried_again(page: MakeClient, store: Store, uid: str) -> None:
    said = post(page(has_actions=True), f"/c/{uid}/retry")

    assert said.startswith("1 task to try again: load[songs]")
    assert store.tasks(uid, ["load[songs]"])[0].status is Status.PENDING


def test_all_that_failed_alike_is_tried_again(
    page: MakeClient, store: Store, uid: str
) -> None:
    run(Import(sound=False, hour="14"), store.url)
    client = page(has_actions=True)
    text = client.get("/errors").text
    fields = dict(re.findall(r'name="(step|type|message)" value="(.*?)"', text))
    fields = {name: value.replace("&#39;", "'") for name, value in fields.items()}

    said = post(client, "/errors", **fields)

    assert said == "2 tasks to try again in 2 containers"
    assert store.tasks(uid, ["load[songs]"])[0].status is Status.PENDING
    assert "Nothing is failed" in client.get("/errors").text


def test_a_step_is_reset_after_the_page_said_what_is_lost(
    page: MakeClient, store: Store, uid: str
) -> None:
    client = page(has_actions=True)
    asks = client.get(f"/c/{uid}/reset?step=download").text
    assert "download" in asks
    assert store.tasks(uid, ["download"])[0].status is Status.DONE

    said = post(client, f"/c/{uid}/reset", step="download")

    assert said == "forgot what 1 task did: download"
    assert store.tasks(uid, ["download"])[0].status is Status.PENDING


@pytest.mark.parametrize("status", ["done", "pending"])
def test_a_failed_task_is_marked(
    page: MakeClient, store: Store, uid: str, status: str
) -> None:
    said = post(
        page(has_actions=True), f"/c/{uid}/mark", task="load[songs]", status=status
    )

    assert said == f"load[songs] is {status} now"
    assert store.tasks(uid, ["load[songs]"])[0].status == status


@pytest.mark.parametrize(
    ("action", "fields", "refusal"),
    [
        ("mark", {"task": "download", "status": "done"}, "only a task that failed"),
        ("mark", {"task": "nope", "status": "done"}, "there is no task"),
        ("mark", {"task": "load[songs]", "status": "x"}, "expected done or pending"),
        ("reset", {"step": "nope"}, "there is no step or task"),
        ("cancel", {"how": "now"}, "nobody runs it"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    page: MakeClient, uid: str, action: str, fields: dict[str, str], refusal: str
) -> None:
    if fields.get("task") == "nope":
        client = page(has_actions=True)
        form = form_of(client, f"/c/{uid}")
        answer = client.post(
            f"/c/{uid}/{action}",
            data={"form": form, **fields},
            headers={"Origin": ORIGIN},
        )
        number = answer.headers["location"].partition("said=")[2]
        said = client.get(f"/c/{uid}?said={number}").text
    else:
        said = post(page(has_actions=True), f"/c/{uid}/{action}", **fields)

    assert refusal in said


def test_a_live_runner_is_asked_to_stop_and_nothing_else(
    page: MakeClient, store: Store, uid: str
) -> None:
    owner = Owner(
        id="o", host="elsewhere", boot="b", pid=1, started=1, since=store.now()
    )
    held = store.claim(uid, owner, 60_000)
    assert held is not None
    client = page(has_actions=True)

    asked = post(client, f"/c/{uid}/cancel", how="gently")
    refused = post(client, f"/c/{uid}/retry")

    assert asked == "asked pid 1 on elsewhere to stop"
    assert store.stop_asked(uid, held.fence) is Stop.GENTLY
    assert "elsewhere" in refused
    assert store.tasks(uid, ["load[songs]"])[0].status is Status.FAILED


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"Origin": "https://evil.example"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        ({"Origin": f"ftp://127.0.0.1:{PORT}"}, {}, 403),
        ({}, {}, 403),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Origin": ORIGIN}, {"form": "0" * 64}, 403),
        ({"Origin": ORIGIN}, {"form": ""}, 403),
        ({"Origin": ORIGIN}, {"step": "x" * 9000}, 413),
    ],
)
def test_forms_that_are_not_ours_change_nothing(
    page: MakeClient,
    store: Store,
    uid: str,
    headers: dict[str, str],
    body: dict[str, str],
    code: int,
) -> None:
    client = page(has_actions=True)
    form = form_of(client, f"/c/{uid}")

    answer = client.post(
        f"/c/{uid}/retry", data={"form": form, **body}, headers=headers
    )

    assert answer.status_code == code
    assert store.tasks(uid, ["load[songs]"])[0].status is Status.FAILED


def test_the_field_of_one_token_is_not_that_of_another(
    page: MakeClient, uid: str
) -> None:
    path = f"/c/{uid}"
    first, other = page("a" * 32, has_actions=True), page("b" * 32, has_actions=True)

    assert form_of(first, path) != form_of(other, path)


def test_without_actions_no_form_is_shown_and_none_is_taken(
    page: MakeClient, store: Store, uid: str
) -> None:
    client = page()

    shown = [client.get(path).text for path in (f"/c/{uid}", "/errors")]
    answer = client.post(f"/c/{uid}/retry", headers={"Origin": ORIGIN})

    assert not any('method="post"' in text for text in shown)
    assert answer.status_code == 405
    assert client.get(f"/c/{uid}/reset").status_code == 404
    assert store.tasks(uid, ["load[songs]"])[0].status is Status.FAILED
