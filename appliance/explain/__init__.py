"""Why packets of a flow were dropped: what on this machine remembers it, and what that means."""

from appliance.explain.causes import Cause, Explanation
from appliance.explain.search import Sources, explain

__all__ = ["Cause", "Explanation", "Sources", "explain"]
