"""A stand-in for the inspector in a process of its own: takes packets from queues and marks them.

`python -m tests.netns.consumer QUEUES [--drop-flow TEXT] [--forget-syn] [--ignore TEXT] [--answer BITS]`
prints one JSON line a packet, after one line `ready` that says the queues are bound. A packet whose bytes
hold the text of --drop-flow gets the mark that drops its flow, one that holds --ignore's is accepted without
`seen`, as a queue that failed open would. --answer's bits are set in every other answer.
"""

import argparse
import json
import selectors
import sys
from functools import partial

from netfilterqueue import NetfilterQueue, Packet

from appliance.model.marks import DROP, FORGET_DROP, PACKET_MASK, QUEUED, SEEN


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("queues")
    parser.add_argument("--drop-flow", default="")
    parser.add_argument("--ignore", default="")
    parser.add_argument("--forget-syn", action="store_true")
    parser.add_argument("--answer", type=partial(int, base=0), default=0)
    arguments = parser.parse_args()
    selector = selectors.DefaultSelector()
    queues = []
    for number in map(int, arguments.queues.split(",")):
        queue = NetfilterQueue()
        queue.bind(number, partial(judge, arguments, number), 4096)
        selector.register(queue.get_fd(), selectors.EVENT_READ, queue)
        queues.append(queue)
    print(json.dumps({"ready": True}), flush=True)
    while True:
        for key, _ in selector.select():
            key.data.run(block=False)


def judge(arguments: argparse.Namespace, queue: int, packet: Packet) -> None:
    data: bytes = packet.get_payload()
    mark: int = packet.get_mark()
    line = {"queue": queue, "mark": mark, "data": data.decode("latin-1")}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    if not (arguments.ignore and arguments.ignore.encode() in data):
        verdict = mark & ~PACKET_MASK | mark & 0x000FFFFF | SEEN | arguments.answer
        if arguments.drop_flow and arguments.drop_flow.encode() in data:
            verdict |= DROP
        if arguments.forget_syn and is_plain_syn(data):
            verdict |= FORGET_DROP
        assert not verdict & QUEUED
        packet.set_mark(verdict)
    packet.accept()


def is_plain_syn(data: bytes) -> bool:
    header = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
    protocol = data[9] if data[0] >> 4 == 4 else data[6]
    return protocol == 6 and data[header + 13] & 0x12 == 0x02


if __name__ == "__main__":
    main()
