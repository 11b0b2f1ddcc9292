"""The kernel as the engine uses it: system calls that the standard library lacks, and facts read from /proc.

In: plain values and file descriptors. Out: plain values, or `OSError` with the call and the path in it.
"""
