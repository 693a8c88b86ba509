"""Who may look at the page and change things by it, and who is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptsflow.errors import UsageError
from ptsflow.web.security import kept_token
from tests.web.conftest import PORT, TOKEN, MakeClient


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_the_page_may_be_called_by_the_names_of_this_host(
    page: MakeClient, host: str
) -> None:
    assert page().get("/", headers={"Host": f"{host}:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "::1",
    ],
)
def test_the_page_may_not_be_called_by_another_name(
    page: MakeClient, host: str
) -> None:
    assert page().get("/", headers={"Host": host}).status_code == 421


def test_without_the_token_nothing_is_shown(page: MakeClient) -> None:
    client = page()
    client.cookies.clear()

    answers = [
        client.get(path) for path in ("/", "/c/1", "/static/htmx.min.js", "/nowhere")
    ]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert TOKEN not in "".join(answer.text for answer in answers)


def test_a_wrong_token_is_no_token(page: MakeClient) -> None:
    client = page()
    client.cookies.clear()

    assert client.get(f"/?token={TOKEN}x").status_code == 401
    strange = {b"Cookie": f"ptsflow_{PORT}=ü".encode()}
    assert client.get("/", headers=strange).status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(page: MakeClient) -> None:
    client = page()
    client.cookies.clear()

    first = client.get(f"/c?name=a%26b&token={TOKEN}")

    assert first.status_code == 303
    assert first.headers["location"] == "/c?name=a%26b"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/").status_code == 200


def test_the_token_leads_to_no_other_host(page: MakeClient) -> None:
    answer = page().get(f"http://127.0.0.1:{PORT}//evil.example/?token={TOKEN}")

    assert answer.headers["location"] == "/evil.example/"


def test_a_program_shows_the_token_in_a_header(page: MakeClient) -> None:
    client = page()
    client.cookies.clear()

    answer = client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 200


def test_whether_the_store_answers_is_told_to_everybody(page: MakeClient) -> None:
    client = page()
    client.cookies.clear()

    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (
        200,
        "ok\n",
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_without_actions_the_page_only_shows(page: MakeClient, method: str) -> None:
    answer = page().request(method, "/")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_every_answer_is_protected(page: MakeClient) -> None:
    client = page()
    answers = [client.get(path) for path in ("/", "/nowhere", "/static/htmx.min.js")]
    answers.append(client.get("/", headers={"Host": "evil.example"}))

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_the_token_is_made_once_and_kept_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "token"

    first = kept_token(file)

    assert len(first) >= 32
    assert kept_token(file) == first
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 32)
    file.chmod(0o644)

    with pytest.raises(UsageError, match="chmod 600"):
        kept_token(file)
