"""The manager's page in a real browser: log in, watch events arrive, override a signature."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from tests.manager_fixture import EnrolledAppliance, RunningManager, running_manager  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]
RULES = "".join(f'alert tcp any any -> any any (msg:"rule {n}"; sid:{n};)\n' for n in (9000001, 9000002))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("page")) as running:
        body = {"files": [{"name": "local.rules", "text": RULES}]}
        running.operator.put("/rule-sets/shipped", json=body).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def lab(manager: RunningManager) -> EnrolledAppliance:
    appliance = manager.enrol("lab")
    report(appliance)
    return appliance


def report(appliance: EnrolledAppliance, **more: Any) -> None:
    version = json.loads(appliance.client.get("/policy").json()["document"])["version"]
    guests = [
        {"name": "web", "segment": "lab", "bytes": 1000, "uninspected": {"encrypted": 250}},
        {"name": "db", "segment": "lab", "bytes": 1000},
    ]
    body = {"live_version": version, "guests": guests, **more}
    appliance.client.put("/status", json=body).raise_for_status()


def post_alert(appliance: EnrolledAppliance, number: int, message: str, sid: int = 9000001) -> None:
    event = {
        "event_type": "alert", "src_ip": "10.99.0.2", "dest_ip": "10.99.0.10",
        "alert": {"signature_id": sid, "gid": 1, "signature": message, "severity": 1, "action": "blocked"},
        "sekisho": {"guest": "web"},
    }  # fmt: skip
    body = {"epoch": "e", "lane": "w-1", "first": number, "events": [event]}
    appliance.client.post("/events", json=body).raise_for_status()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, manager: RunningManager) -> Iterator[Any]:
    """A logged-in page; a script's error or a request that the content policy refuses fails the test."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    log_in(opened, manager)
    yield opened
    context.close()
    assert complaints == []


def log_in(page: Any, manager: RunningManager) -> None:
    page.goto(manager.url)
    page.fill("[name=name]", "admin")
    page.fill("[name=password]", manager.password)
    page.press("[name=password]", "Enter")
    page.wait_for_selector(".tiles")
    # its script, too: a manager that is stopped now would not give it
    page.wait_for_load_state("load")


def test_nothing_is_shown_before_the_login_and_after_the_logout(
    browser: Any, manager: RunningManager, lab: EnrolledAppliance
) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{manager.url}/events")
    assert page.url.endswith("/login?next=/events")
    page.fill("[name=name]", "admin")
    page.fill("[name=password]", "wrong password")
    page.press("[name=password]", "Enter")
    page.wait_for_selector("text=Name or password is wrong.")
    page.fill("[name=name]", "admin")
    page.fill("[name=password]", manager.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{manager.url}/events")
    page.click("text=Log out")
    page.wait_for_url(f"{manager.url}/login")
    page.goto(f"{manager.url}/guests/lab/web")
    assert "/login" in page.url
    context.close()


def test_the_overview_says_what_is_bypassed_and_what_share_is_uninspected(
    page: Any, lab: EnrolledAppliance
) -> None:
    import time

    report(lab, bypass=[{"guest": "db", "until_s": time.time() + 600}])
    page.wait_for_selector(".tile.bypassed b:text-is('1')")
    assert page.inner_text("tr.is-bypassed th a") == "db"
    assert "25.0 % uninspected" in page.inner_text("table.guests")
    assert "encrypted" in page.inner_text("table.guests")
    report(lab)
    page.wait_for_selector(".tile.bypassed.zero")


def test_an_event_appears_by_itself_and_its_strings_stay_text(page: Any, lab: EnrolledAppliance) -> None:
    post_alert(lab, 0, "<script>document.title='taken'</script><img src=x onerror=alert(1)>")
    row = page.wait_for_selector("#rows tr.fresh")
    assert "<script>document.title='taken'</script>" in row.inner_text()
    assert row.query_selector("img, script") is None
    assert page.title() == "Overview · Sekisho"


def test_the_button_beside_an_alert_overrides_its_signature(
    page: Any, manager: RunningManager, lab: EnrolledAppliance
) -> None:
    post_alert(lab, 1, "a false positive", sid=9000002)
    page.click("#rows tr:has-text('a false positive') a[data-dialog]")
    page.wait_for_selector("dialog[open]")
    page.check("dialog [name=mode][value=off]")
    page.select_option("dialog [name=peer]", "10.99.0.2")
    page.select_option("dialog [name=lasts]", "8h")
    page.fill("dialog [name=reason]", "ticket 4711")
    page.click("dialog button.primary")
    page.wait_for_url("**/guests/lab/web#overrides")
    assert "1:9000002" in page.inner_text("section[aria-labelledby=overrides]")
    policy = json.loads(lab.client.get("/policy").json()["document"])
    (override,) = policy["guests"]["web"]["overrides"]
    assert (override["sid"], override["mode"], override["peer"]) == (9000002, "off", "10.99.0.2")
    assert override["until"] is not None
    assert manager.operator.get("/audit").json()["entries"][0]["actor"] == "user:admin"
    page.click("text=Take back")
    page.wait_for_selector("section[aria-labelledby=overrides] >> text=None.")


def test_the_override_works_from_the_keyboard_alone(page: Any, lab: EnrolledAppliance) -> None:
    post_alert(lab, 2, "by keyboard")
    page.wait_for_selector("text=by keyboard")
    page.focus("#rows tr:has-text('by keyboard') a[data-dialog]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**/guests/lab/web#overrides")
    policy = json.loads(lab.client.get("/policy").json()["document"])
    assert [o["mode"] for o in policy["guests"]["web"]["overrides"]] == ["off"]


def test_a_rule_set_is_assigned_on_the_guests_page(
    page: Any, manager: RunningManager, lab: EnrolledAppliance
) -> None:
    page.goto(f"{manager.url}/guests/lab/db")
    page.select_option("[name=mode]", "prevent")
    page.click("button:text-is('Apply')")
    page.wait_for_selector("text=Follow the defaults again")
    policy = json.loads(lab.client.get("/policy").json()["document"])
    assert policy["guests"]["db"]["assignments"][0]["mode"] == "prevent"
    report(lab)
    page.goto(manager.url)
    page.wait_for_selector("tr.is-shielded th a:text-is('db')")


def test_an_enrolment_token_is_made_on_the_page(
    page: Any, manager: RunningManager, lab: EnrolledAppliance
) -> None:
    page.goto(f"{manager.url}/appliances")
    page.click("text=Make an enrolment token")
    secret = page.inner_text("#secret")
    assert manager.enrol("by-page", secret).client.get("/policy").status_code == 200
    page.goto(f"{manager.url}/appliances")
    assert secret not in page.content()


def test_no_page_is_wider_than_a_phone(page: Any, manager: RunningManager, lab: EnrolledAppliance) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", "/events", "/rule-sets", "/appliances", "/audit", "/guests/lab/web"):
        page.goto(manager.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_says_that_it_is_old_when_the_manager_stops(browser: Any, tmp_path: Path) -> None:
    with running_manager(tmp_path) as own:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.clock.install()
        log_in(page, own)
        own.stop()
        page.clock.fast_forward("00:10")
        page.wait_for_selector("#stale:not([hidden])")
        page.wait_for_selector("#live-state.off")
        own.restart()
        page.clock.fast_forward("00:10")
        page.wait_for_selector("#stale", state="hidden")
        page.wait_for_selector("#live-state:not(.off)")
        context.close()
