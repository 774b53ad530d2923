"""Policies on disk: STATE/live/GENERATION/{policy.json, engine.json}, and `current`, a link to the live one.

`taken-back` holds the digest of the policy that was live and proved harmful, so that it does not come again.

A generation directory is written and fsynced before `current` is renamed onto it, so after a power cut the
appliance starts with the last policy that was live, whole.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from appliance.durable import fsync_directory, write_file
from appliance.model.faults import PolicyError
from appliance.model.policy import PolicyDocument
from appliance.reporting.client import SignedPolicy

KEPT = 2
TAKEN_BACK = "taken-back"


class Generations(msgspec.Struct, frozen=True):
    """The generations below a directory."""

    root: Path

    def next_number(self) -> int:
        """Return a number greater than every one used so far."""
        return max(self._numbers(), default=0) + 1

    def write(self, number: int, policy: SignedPolicy | None, engine_policy: dict[str, Any]) -> Path:
        """Write a generation durably; return the path of its engine.json. Raises OSError.

        policy: None while no manager has given one.
        """
        directory = self.root / str(number)
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if policy is not None:
            write_file(directory / "policy.json", msgspec.json.encode(policy))
        path = directory / "engine.json"
        write_file(path, msgspec.json.encode(engine_policy))
        fsync_directory(directory)
        return path

    def make_current(self, number: int) -> None:
        """Let `current` name the generation, and delete what is older than the one before. Raises OSError."""
        link = self.root / ".current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(str(number))
        link.rename(self.root / "current")
        fsync_directory(self.root)
        for old in sorted(self._numbers())[:-KEPT]:
            if old != number:
                shutil.rmtree(self.root / str(old), ignore_errors=True)

    def discard(self, number: int) -> None:
        """Delete a generation that was refused."""
        shutil.rmtree(self.root / str(number), ignore_errors=True)

    def take_back(self, policy: SignedPolicy) -> None:
        """Remember the policy as harmful. Raises OSError."""
        write_file(self.root / TAKEN_BACK, policy.digest.encode())
        fsync_directory(self.root)

    def was_taken_back(self, policy: SignedPolicy) -> bool:
        """Whether it is the one that proved harmful last. Raises OSError."""
        try:
            return (self.root / TAKEN_BACK).read_bytes() == policy.digest.encode()
        except FileNotFoundError:
            return False

    def current_policy(self) -> SignedPolicy | None:
        """Return the policy that was live last, or None. Raises ValueError when it is damaged, OSError."""
        try:
            content = (self.root / "current" / "policy.json").read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=SignedPolicy)

    def current_document(self) -> PolicyDocument | None:
        """Return the live policy's document as control left it, or None. Raises PolicyError."""
        try:
            signed = self.current_policy()
            return None if signed is None else msgspec.json.decode(signed.document, type=PolicyDocument)
        except ValueError as error:
            raise PolicyError(f"{self.root}/current/policy.json: {error}") from None

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.root.glob("[0-9]*") if path.name.isdigit()]
