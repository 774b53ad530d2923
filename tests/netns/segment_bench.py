"""A bench of more than two guests."""

from msgspec.structs import replace

from appliance import lab
from appliance.model.policy import PolicyDocument
from bench.inline.segment import BRIDGE, Segment
from tests.netns.kit import Bench


class SegmentBench(Bench):
    """The guests of a segment: `client`, `guest1`, `guest2` and so on."""

    segment: Segment

    @classmethod
    def on(cls, segment: Segment, queue_full: str = "open") -> "SegmentBench":
        inventory = segment.inventory()
        (only,) = inventory.segments
        failure = replace(only.failure, queue_full=queue_full)  # type: ignore[arg-type]
        inventory = replace(inventory, segments=(replace(only, failure=failure),))
        made = cls(lab.LabSettings(bridge=BRIDGE), inventory, PolicyDocument(0))
        made.segment = segment
        return made

    @property
    def netns(self) -> str:
        return self.segment.netns
