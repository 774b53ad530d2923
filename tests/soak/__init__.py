"""An hour of everything at once: traffic, attacks, reloads and kills; what must hold is looked at throughout.

`make soak`, or `python -m tests.soak --seconds 600 --seed 7`. Two labs side by side under one manager, one
failing open, the other failing closed in every respect.
"""
