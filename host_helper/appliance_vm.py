"""Which domain is the appliance: the one that host.yaml names, also after it was renamed."""

from collections.abc import Sequence

from host_helper.model import HostGuest
from host_helper.state import State


class ApplianceVm:
    """The domain that has the name, or the UUID; while none has, the one that had it last.

    The name goes first: an appliance that was exchanged for a new one of its name is the new one.
    """

    def __init__(self, named: str, state: State) -> None:
        self._named = named
        self._state = state

    def is_it(self, guest: HostGuest) -> bool:
        """Whether this guest is it, as far as was seen of the others."""
        return self._has_the_name(guest) or guest.uuid == self._state.appliance(self._named)

    def among(self, guests: Sequence[HostGuest]) -> HostGuest | None:
        """Return it, and remember it. Raises OSError."""
        named = next(filter(self._has_the_name, guests), None)
        if named is not None:
            self._state.note_appliance(self._named, named.uuid)
            self._state.save()
        return named or next(filter(self.is_it, guests), None)

    def _has_the_name(self, guest: HostGuest) -> bool:
        return self._named in (guest.name, guest.uuid)
