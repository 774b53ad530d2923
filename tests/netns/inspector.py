"""The engine on queues, in a process of its own, told what to do by lines on its input.

`python -m tests.netns.inspector SPOOL FIRST_QUEUE WORKERS open|closed` answers each line with one of JSON:
`load PATH` with the report, `stats` with the counters. After the first load it binds the queues.
"""

import json
import sys

from appliance import _engine


def main() -> None:
    spool, first, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    fail_open = sys.argv[4] == "open"
    settings = {"queues": workers, "spool_max_bytes": 64 << 20, "memory_max_bytes": 256 << 20}
    inspector = _engine.Inspector(spool, json.dumps(settings))
    running = False
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "load":
            answer = inspector.load(path)
            if not running:
                inspector.start_native(first, fail_open=fail_open)
                running = True
        else:
            answer = inspector.stats()
        print(answer, flush=True)
    inspector.stop()


if __name__ == "__main__":
    main()
