"""What a container, an image, a volume is and how it lives: the rules of the life cycle.

In: plain arguments of operations, as `engine` passes them. Out: records and plain values; the one tree of errors.
Every change is a transaction, or an intent and a transaction; see docs/architecture.md for what a kill leaves at each step.
"""
