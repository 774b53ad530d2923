"""The calls an appliance makes to its manager, over TLS with its certificate."""

from typing import TYPE_CHECKING, Any, Self

import msgspec

from appliance.model.faults import PolicyError, SystemFault
from appliance.model.policy import POLICY_FORMAT, PolicyDocument
from appliance.reporting.identity import Identity, digest_of
from appliance.reporting.spool import Batch

if TYPE_CHECKING:
    import httpx  # imported when a manager is dialled: the rules stand before

POLL_S = 25.0
TIMEOUT_S = 15.0
MAX_POLICY_BYTES = 16 * 1024 * 1024
MAX_RULE_SET_BYTES = 256 * 1024 * 1024
# Only these speak of what was sent; every other error may pass with time or when an operator acts.
CONTENT_REFUSED = frozenset({400, 413, 422})


class Refused(PolicyError):
    """The manager understood a call and refuses it: the same call again will not help."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class SignedPolicy(msgspec.Struct, frozen=True):
    """A policy as it arrived: the document's text, its sha256 in hex, and a signature over that."""

    document: str
    digest: str
    signature: str

    def verified(self, identity: Identity) -> PolicyDocument:
        """Return the document if digest, signature and shape hold. Raises PolicyError."""
        if digest_of(self.document.encode()) != self.digest:
            raise PolicyError("the policy's text does not match its digest")
        identity.verify_policy(self.digest, self.signature)
        try:
            document = msgspec.json.decode(self.document, type=PolicyDocument)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise PolicyError(f"the policy document cannot be read: {error}") from None
        if document.format != POLICY_FORMAT:
            raise PolicyError(
                f"the policy document has format {document.format}, this appliance reads {POLICY_FORMAT}"
            )
        return document


class ManagerClient(msgspec.Struct):
    """The manager, as an enrolled appliance sees it. Each call raises SystemFault or Refused."""

    identity: Identity
    _http: "httpx.AsyncClient"

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Return a client for the identity. Raises OSError when its files cannot be read."""
        import httpx

        base = f"{identity.appliance_url}/api/v1/appliance"
        limits = httpx.Limits(max_connections=8)
        return cls(
            identity,
            # trust_env: a proxy variable in someone's shell must not see what a guest's attacker sent.
            httpx.AsyncClient(
                base_url=base, verify=identity.tls(), timeout=TIMEOUT_S, limits=limits, trust_env=False
            ),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def policy(self, after: int, wait_s: float = POLL_S) -> SignedPolicy | None:
        """Return the policy if its version is not `after`, waiting for one at most wait_s."""
        content = await self._call(
            "GET",
            "/policy",
            MAX_POLICY_BYTES,
            params={"after": after, "wait": wait_s},
            timeout=wait_s + TIMEOUT_S,
        )
        if not content:
            return None
        try:
            return msgspec.json.decode(content, type=SignedPolicy)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SystemFault(f"the manager's answer is no policy: {error}") from None

    async def rule_set(self, digest: str) -> bytes:
        """Return the content of a rule set; whoever keeps it compares the digest."""
        return await self._call("GET", f"/rule-sets/{digest}", MAX_RULE_SET_BYTES)

    async def put_status(self, status: dict[str, Any]) -> None:
        """Report how the appliance is."""
        await self._call("PUT", "/status", MAX_POLICY_BYTES, json=status)

    async def post_events(self, batch: Batch) -> None:
        """Deliver a batch; posting it twice stores it once."""
        await self._call(
            "POST",
            "/events",
            MAX_POLICY_BYTES,
            content=batch.body(),
            headers={"Content-Type": "application/json"},
        )

    async def _call(self, method: str, path: str, max_bytes: int, **arguments: Any) -> bytes:
        import httpx

        try:
            async with self._http.stream(method, path, **arguments) as response:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > max_bytes:
                        raise SystemFault(f"manager: {path}: the answer is longer than {max_bytes} bytes")
        except httpx.HTTPError as error:
            raise SystemFault(f"manager: {path}: {error or type(error).__name__}") from None
        if response.is_success:
            return bytes(content)
        answer = httpx.Response(response.status_code, content=bytes(content))
        text = f"manager: {path}: {problem_text(answer)}"
        if response.status_code in CONTENT_REFUSED:
            raise Refused(text, response.status_code)
        raise SystemFault(text)


def problem_text(response: "httpx.Response") -> str:
    """Return what an error answer says for people, at most a few hundred characters of it."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.MsgspecError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return f"status {response.status_code}"
    texts = [body[key] for key in ("title", "detail") if isinstance(body.get(key), str)]
    return f"{response.status_code} {': '.join(texts)}"[:500]
