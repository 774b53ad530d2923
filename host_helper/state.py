"""STATE/state.json: who every guest is, which are protected, and how they were connected before."""

import threading
from pathlib import Path

import msgspec

from appliance.durable import replace_file
from appliance.model.faults import SystemFault

MAX_NAMES = 10_000


class Protected(msgspec.Struct, kw_only=True):
    """A guest that is to be protected. home: each vNIC's bridge without us, by MAC."""

    persistent: bool = False
    home: dict[str, str] = {}


class _Stored(msgspec.Struct, kw_only=True):
    names: dict[str, str] = {}
    protected: dict[str, Protected] = {}
    slots: dict[str, tuple[str, str]] = {}
    appliances: dict[str, str] = {}


class State:
    """What outlives the helper. Every change is on the disk before it is acted upon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = b""
        self._writing = threading.Lock()
        try:
            self._stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            self._stored = _Stored()
        except msgspec.MsgspecError as error:
            raise SystemFault(
                f"{path}: {error}; unprotect the guests by hand and move the file away"
            ) from None

    @property
    def protected(self) -> dict[str, Protected]:
        """The protected guests by UUID. `save` after a change."""
        return self._stored.protected

    @property
    def slots(self) -> dict[str, tuple[str, str]]:
        """Whose each pair bridge is: a guest's UUID and its vNIC's MAC. `save` after a change."""
        return self._stored.slots

    def name_of(self, uuid: str, name: str) -> str:
        """Return what the appliance calls the guest; `save` after it.

        The first name it was seen with, for ever: policies go by name, so a guest that is renamed keeps its
        own, and one that takes another's name, or was made in place of a removed one, does not inherit it.
        """
        names = self._stored.names
        if uuid not in names:
            taken = set(names.values())
            names[uuid] = name if name not in taken else f"{name[:80]}@{uuid[:13]}"
            while len(names) > MAX_NAMES:
                del names[next(each for each in names if each not in self.protected)]
        return names[uuid]

    def appliance(self, named: str) -> str | None:
        """Return the UUID of the domain that last had the name that host.yaml calls the appliance by."""
        return self._stored.appliances.get(named)

    def note_appliance(self, named: str, uuid: str) -> None:
        """Remember the appliance's UUID, and no other one's; `save` after it."""
        self._stored.appliances = {named: uuid}

    def home(self, uuid: str, mac: str) -> str | None:
        """Return the bridge that a protected guest's vNIC is on without us."""
        protected = self.protected.get(uuid)
        return protected.home.get(mac) if protected else None

    def save(self) -> None:
        """Write everything down if it changed. Raises OSError."""
        with self._writing:
            content = msgspec.json.encode(self._stored)
            if content != self._written:
                replace_file(self._path, content, mode=0o600)
                self._written = content
