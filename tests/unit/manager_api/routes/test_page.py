"""The page without a browser: sessions, forms from elsewhere, guessing, roles."""

import re

import httpx
import pytest

from tests.manager_fixture import EnrolledAppliance, RunningManager
from tests.unit.manager_api.conftest import rules


def visitor(manager: RunningManager) -> httpx.Client:
    """Return a browser-like client that sends where its forms come from."""
    headers = {"Origin": manager.url, "Sec-Fetch-Site": "same-origin"}
    client = httpx.Client(base_url=manager.url, verify=manager.trust(), headers=headers, timeout=30)
    manager.clients.append(client)
    return client


def logged_in(manager: RunningManager, name: str = "admin", password: str | None = None) -> httpx.Client:
    client = visitor(manager)
    answer = client.post("/login", data={"name": name, "password": password or manager.password or ""})
    assert answer.status_code == 303, answer.text
    return client


def csrf(client: httpx.Client, path: str = "/appliances") -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def test_the_session_cookie_is_for_this_host_and_no_script(manager: RunningManager) -> None:
    client = visitor(manager)
    answer = client.post("/login", data={"name": "admin", "password": manager.password or ""})
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("__host-")
    for flag in ("secure", "httponly", "samesite=strict", "path=/"):
        assert flag in cookie
    assert "domain" not in cookie


def test_pages_need_a_session_and_the_api_takes_none(manager: RunningManager) -> None:
    stranger = visitor(manager)
    for path in ("/", "/events", "/events/1", "/rule-sets", "/appliances", "/audit", "/guests/lab/web"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"].startswith("/login")) == (303, True), path
    assert stranger.get("/live/overview").status_code == 401
    assert stranger.get("/live/events").status_code == 401
    assert logged_in(manager).get("/api/v1/events").status_code == 401


def test_a_form_from_elsewhere_or_without_the_pages_secret_is_refused(manager: RunningManager) -> None:
    client = logged_in(manager)
    good = {"lifetime": "1h", "csrf": csrf(client)}
    assert client.post("/tokens", data={"lifetime": "1h"}).status_code == 403
    assert client.post("/tokens", data={**good, "csrf": "0" * 64}).status_code == 403
    assert client.post("/tokens", data=good, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/tokens", data=good, headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    del client.headers["Sec-Fetch-Site"]
    assert client.post("/tokens", data=good, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/tokens", data=good, headers={"Origin": "null"}).status_code == 403
    assert client.post("/tokens", data=good).status_code == 200
    assert client.post("/login", data={}, headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_logout_ends_the_session_on_the_server(manager: RunningManager) -> None:
    client = logged_in(manager)
    cookies = dict(client.cookies)
    assert client.post("/logout").status_code == 303
    client.cookies.update(cookies)
    assert client.get("/").status_code == 303


def test_a_new_password_ends_the_persons_sessions(manager: RunningManager) -> None:
    first = manager.cli("admin", "create", "eve")
    client = logged_in(manager, "eve", first)
    second = manager.cli("admin", "create", "eve")
    assert client.get("/").status_code == 303
    assert logged_in(manager, "eve", second).get("/").status_code == 200


def test_guessing_a_password_is_slowed_down_even_with_the_right_one(manager: RunningManager) -> None:
    password = manager.cli("admin", "create", "mallory")
    client = visitor(manager)
    answers = [client.post("/login", data={"name": "mallory", "password": f"guess {n}"}) for n in range(9)]
    assert [a.status_code for a in answers] == [401] * 8 + [429]
    right = client.post("/login", data={"name": "mallory", "password": password})
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) > 0


def test_a_viewer_sees_no_buttons_and_may_send_no_form(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    manager.operator.put("/rule-sets/shipped", json=rules(1)).raise_for_status()
    viewer = logged_in(manager, "ann", manager.cli("admin", "create", "ann", "--role", "viewer"))
    page = viewer.get("/guests/lab/web").text
    assert "Apply" not in page
    assert "csrf" not in page
    assert viewer.post("/tokens", data={"lifetime": "1h"}).status_code == 403


@pytest.mark.parametrize(
    ("next", "lands"),
    [
        ("/events", "/events"), ("//evil.example", "/"), ("https://evil.example", "/"),
        ("/\\evil.example", "/"), ("/login", "/"),
        ("javascript:alert(1)", "/"), ("/a\r\nSet-Cookie: x=y", "/"),
    ],
)  # fmt: skip
def test_a_login_leads_to_this_page_only(manager: RunningManager, next: str, lands: str) -> None:
    data = {"name": "admin", "password": manager.password or "", "next": next}
    assert visitor(manager).post("/login", data=data).headers["location"] == lands


def test_a_stale_form_does_not_undo_what_another_did(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    manager.operator.put("/rule-sets/shipped", json=rules(1)).raise_for_status()
    one = {"assignments": [{"rule_set": "shipped", "mode": "detect"}]}
    manager.operator.put("/guests/web/assignments", json=one).raise_for_status()
    client = logged_in(manager)
    page = client.get("/guests/lab/web").text
    etag = re.search(r'name="etag" value="([^"]+)"', page)
    assert etag is not None
    form = {"csrf": csrf(client), "etag": etag[1].replace("&#34;", '"'), "mode": "off"}
    two = {"assignments": [{"rule_set": "shipped", "mode": "prevent"}]}
    manager.operator.put("/guests/web/assignments", json=two).raise_for_status()
    assert client.post("/guests/lab/web/assignments", data=form).status_code == 412
    current = manager.operator.get("/guests/web/assignments").json()["assignments"]
    assert current[0]["mode"] == "prevent"


def test_errors_on_the_page_are_pages(manager: RunningManager) -> None:
    client = logged_in(manager)
    for path in (
        "/nothing",
        "/events/999999",
        "/guests/absent/web",
        "/events?severity=9",
        "/events?before=x",
    ):
        answer = client.get(path)
        assert 400 <= answer.status_code < 500, path
        assert answer.headers["content-type"].startswith("text/html")
        assert "<h1>" in answer.text
    assert "<script>alert" not in client.get("/events/<script>alert(1)</script>").text
