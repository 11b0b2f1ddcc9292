"""Units for systemd: of containers and pods that are here, and the Quadlet files that others have put where systemd finds them.

In: names and options. Out: texts of units, and what Quadlet files there are. On top of core.
"""
