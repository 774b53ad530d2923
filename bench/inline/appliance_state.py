"""The state of an appliance that was enrolled and had a policy: it starts with that, no manager near."""

import base64
import grp
import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.model.policy import (
    Assignment,
    GuestPolicy,
    Mode,
    PolicyDocument,
    RuleFile,
    RuleSetContent,
    RuleSetRef,
)
from appliance.model.policy import Selection as SelectedSids
from appliance.reporting.client import SignedPolicy
from appliance.reporting.identity import digest_of
from appliance.rulesets.store import RuleSetStore
from bench.inline.segment import Segment

RULE_SET = "bench"
GROUP = "nogroup"


def prepare(
    directory: Path,
    segment: Segment,
    rules: str,
    sids: Mapping[str, tuple[int, ...] | None],
    queues: int,
    mode: Mode = Mode.PREVENT,
) -> Path:
    """Write configuration, guests, identity, rule set and signed policy; return the configuration.

    sids: which signatures each guest holds, in this mode; None: all of them. Raises OSError.
    """
    state = directory / "state"
    for name in ("identity", "live/1", "rule-sets"):
        (state / name).mkdir(parents=True)
    # As `sekisho run` makes it: new files belong to the inspector's group.
    os.chown(state / "rule-sets", 0, grp.getgrnam(GROUP).gr_gid)
    (state / "rule-sets").chmod(0o2750)
    content = msgspec.json.encode(RuleSetContent(RULE_SET, (RuleFile("bench.rules", rules),)))
    digest = digest_of(content)
    RuleSetStore(state / "rule-sets").put(digest, content)
    document = PolicyDocument(
        version=1,
        rule_sets=(RuleSetRef(RULE_SET, 1, digest),),
        guests={
            guest: GuestPolicy((Assignment(RULE_SET, mode, SelectedSids(sids=chosen)),))
            for guest, chosen in sids.items()
        },
    )
    _sign(state, document)
    (directory / "guests.yaml").write_text(segment.guests_yaml())
    config = directory / "sekisho.yaml"
    settings = {
        "guests": "guests.yaml",
        "state_dir": "state",
        "netns": segment.netns,
        "inspector": {"queues": queues},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def _sign(state: Path, document: PolicyDocument) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    identity = {
        "appliance_id": "bench", "certificate": "", "ca": "", "policy_key": public,
        "appliance_url": "https://127.0.0.1:1",
    }  # fmt: skip
    (state / "identity" / "identity.json").write_text(json.dumps(identity))
    text = msgspec.json.encode(document).decode()
    digest = digest_of(text.encode())
    signature = base64.b64encode(key.sign(digest.encode("ascii"))).decode()
    policy = msgspec.json.encode(SignedPolicy(text, digest, signature))
    (state / "live" / "1" / "policy.json").write_bytes(policy)
    (state / "live" / "current").symlink_to("1")
