"""The lab: two guests as network namespaces on one bridge, for development and demonstration.

`web` runs nginx and a service that records what reaches it and executes nothing; `client` sends real
exploit requests. Needs root.
"""

from appliance.lab.lifecycle import LabStatus, down, guests_yaml, status, up
from appliance.lab.sending import AttackResult, Record, attack, records
from appliance.lab.settings import CLIENT, GUESTS, HTTP_PORT, RAW_PORT, WEB, LabGuest, LabSettings
from appliance.lab.wire import Outcome

__all__ = [
    "CLIENT",
    "GUESTS",
    "HTTP_PORT",
    "RAW_PORT",
    "WEB",
    "AttackResult",
    "LabGuest",
    "LabSettings",
    "LabStatus",
    "Outcome",
    "Record",
    "attack",
    "down",
    "guests_yaml",
    "records",
    "status",
    "up",
]
