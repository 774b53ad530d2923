"""A manager's rule sets, as whoever pushes to them sees them."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from appliance.model.faults import SystemFault
from appliance.rulesets.update.local import decoded

TIMEOUT_S = 120.0
MAX_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class RuleSetLive:
    """A rule set's live version on the manager."""

    version: int
    etag: str
    files: tuple[tuple[str, bytes], ...]


class RuleSetClient:
    """One rule set on a manager, reached with an API key. Every call raises SystemFault."""

    def __init__(self, url: str, key: str, ca: Path | None, name: str) -> None:
        self._name, self._url = name, url
        try:
            verify = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError) as error:
            raise SystemFault(f"{ca}: not a CA certificate in PEM: {error}") from None
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/rule-sets",
            verify=verify,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def live(self) -> RuleSetLive | None:
        """Return the live version, or None where there is no such rule set yet."""
        found = self._call("GET", f"/{self._name}", missing_is_none=True)
        if found is None:
            return None
        version = int(found.json()["version"])
        content = self._call("GET", f"/{self._name}/versions/{version}")
        assert content is not None
        files = tuple((file["name"], file["text"].encode()) for file in content.json()["files"])
        return RuleSetLive(version, found.headers.get("ETag", ""), files)

    def put(self, files: Sequence[tuple[str, bytes]], replaces: RuleSetLive | None) -> Mapping[str, Any]:
        """Make the files live if what they replace is still live; return what the manager says of them."""
        body = {"files": [{"name": name, "text": decoded(name, text)} for name, text in files]}
        headers = {"If-Match": replaces.etag} if replaces and replaces.etag else {}
        answer = self._call("PUT", f"/{self._name}", json=body, headers=headers)
        assert answer is not None
        found: Mapping[str, Any] = answer.json()
        return found

    def _call(
        self, method: str, path: str, *, missing_is_none: bool = False, **arguments: Any
    ) -> httpx.Response | None:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise SystemFault(
                f"manager {self._url}: {method} {path}: {error or type(error).__name__}"
            ) from None
        if response.status_code == httpx.codes.NOT_FOUND and missing_is_none:
            return None
        if not response.is_success:
            said = response.text[:MAX_SHOWN]
            raise SystemFault(f"manager {self._url}: {method} {path}: {response.status_code} {said}")
        return response
