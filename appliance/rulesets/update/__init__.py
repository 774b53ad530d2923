"""Where rules come from: fetched by suricata-update, checked by our engine, compared and pushed."""

from appliance.rulesets.update.difference import Difference, RuleChange, compare, data_sets
from appliance.rulesets.update.fetch import FetchError, Sources, fetch
from appliance.rulesets.update.local import local_files, passed_over
from appliance.rulesets.update.publish import RuleSetClient, RuleSetLive
from appliance.rulesets.update.sift import THRESHOLDS, Sifted, sift

__all__ = [
    "THRESHOLDS",
    "Difference",
    "FetchError",
    "RuleChange",
    "RuleSetClient",
    "RuleSetLive",
    "Sifted",
    "Sources",
    "compare",
    "data_sets",
    "fetch",
    "local_files",
    "passed_over",
    "sift",
]
