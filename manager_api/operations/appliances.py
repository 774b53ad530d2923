"""What is done to an appliance as a whole."""

from manager_api.bulletin import policy_topic
from manager_api.manager import Manager
from manager_api.operations.guests import find_appliance
from manager_api.store import appliances


def revoke(manager: Manager, actor: str, appliance: str) -> None:
    """Refuse the appliance's certificates from now on. Raises Problem 404."""
    with manager.changing(actor) as change:
        found = find_appliance(change.session, appliance)
        if found.revoked_at is None:
            found.revoked_at = change.at
            appliances.revoke_certificates(change.session, found.id, change.at)
            change.note("appliance.revoke", found.name, id=found.id)
            change.topics.append(policy_topic(found.id))
