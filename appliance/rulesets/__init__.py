"""Rule sets on the appliance and the manager: what loads, what a selection picks, where they are kept."""

from appliance.rulesets.check import CheckReport, RefusedRule, RuleWarning, Signature, check_files
from appliance.rulesets.needs import NeedsReader
from appliance.rulesets.selection import SelectionError, can_block, select

__all__ = [
    "CheckReport",
    "NeedsReader",
    "RefusedRule",
    "RuleWarning",
    "SelectionError",
    "Signature",
    "can_block",
    "check_files",
    "select",
]
