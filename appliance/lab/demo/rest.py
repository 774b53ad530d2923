"""The manager's REST API, as far as the demonstration uses it."""

import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from appliance.model.faults import SystemFault

POLL_S = 0.1


class Manager:
    """A manager, with an administrator's API key. Every call raises SystemFault."""

    def __init__(self, port: int, ca: Path, key: str, host: str = "127.0.0.1") -> None:
        self.url = f"https://{host}:{port}"
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            verify=ssl.create_default_context(cafile=str(ca)),
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )

    def put_rule_set(self, name: str, files: Mapping[str, str]) -> int:
        """Push a rule set; return how many signatures load."""
        body = {"files": [{"name": file, "text": text} for file, text in files.items()]}
        answer = self._call("PUT", f"/rule-sets/{name}", json=body)
        return int(answer["signatures"])

    def assign_to_all(self, appliance: str, rule_set: str, mode: str) -> None:
        """Let every guest that has no assignments of its own run the rule set in this mode."""
        body = {"assignments": [{"rule_set": rule_set, "mode": mode}]}
        self._call("PUT", f"/appliances/{appliance}/defaults", json=body)

    def wait_until_in_step(
        self, appliance: str, timeout_s: float, is_alive: Callable[[], bool] = lambda: True
    ) -> int:
        """Return the policy version once the appliance reports it live and its inspector up."""
        deadline = time.monotonic() + timeout_s
        state: dict[str, Any] = {}
        while time.monotonic() < deadline and is_alive():
            found = [each for each in self._call("GET", "/appliances") if each["name"] == appliance]
            state = found[0] if found else {}
            if state.get("in_step") and (state.get("inspector") or {}).get("up"):
                return int(state["live_version"])
            time.sleep(POLL_S)
        why = state.get("error") or (
            "not enrolled" if not state else "the policy or the inspector is not live"
        )
        raise SystemFault(f"the appliance is not ready within {timeout_s:.0f} s: {why}")

    def alerts(self, appliance: str, since: datetime) -> list[dict[str, Any]]:
        """Return the EVE records of alerts since then."""
        query = {"appliance": appliance, "event_type": "alert", "since": since.isoformat(), "limit": 1000}
        return [event["eve"] for event in self._call("GET", "/events", params=query)["events"]]

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise SystemFault(f"manager: {method} {path}: {error}") from None
        if not response.is_success:
            raise SystemFault(f"manager: {method} {path}: {response.status_code} {response.text[:2_000]}")
        return response.json() if response.content else None
