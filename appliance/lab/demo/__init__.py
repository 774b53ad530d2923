"""The demonstration: a manager, the lab, an appliance on its bridge, and attacks in three modes."""

from appliance.lab.demo.orchestration import DemoSettings, down, up
from appliance.lab.demo.rounds import Round, play

__all__ = ["DemoSettings", "Round", "down", "play", "up"]
