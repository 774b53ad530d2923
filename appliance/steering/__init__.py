"""Which traffic the inspector gets to see, as a value and in the kernel."""

from appliance.steering.backend import Backend, Choice, choose_backend
from appliance.steering.bypass import Bypassed, bypass, bypassed, loaded_taps
from appliance.steering.counters import Counters, GuestCounters, RuleCount, Traffic, read_counters
from appliance.steering.failure import switch_to_failure_policy
from appliance.steering.forwarding import tell
from appliance.steering.ruleset import Queues, Ruleset, apply, load, read_state, render, teardown

__all__ = [
    "Backend",
    "Bypassed",
    "Choice",
    "Counters",
    "GuestCounters",
    "Queues",
    "RuleCount",
    "Ruleset",
    "Traffic",
    "apply",
    "bypass",
    "bypassed",
    "choose_backend",
    "load",
    "loaded_taps",
    "read_counters",
    "read_state",
    "render",
    "switch_to_failure_policy",
    "teardown",
    "tell",
]
