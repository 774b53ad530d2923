"""Classic network evasions, played with scapy against a real Linux guest.

What a guest's socket receives is what the engine must have understood. Each row of the tables (`segments`,
`connections`, `fragments`, `requests`) says first what the guest makes of it, which the kernel itself proves
or refutes; then the same packets are inspected offline (`test_replayed`) and on their way (`test_live`).
"""
