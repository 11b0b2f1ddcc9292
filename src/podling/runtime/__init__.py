"""Running containers: the OCI runtime spec, conmon, the OCI runtime, attaching, logs, seccomp, cgroups.

In: a `ContainerConfig`, a mounted root file system and a bundle folder. Out: processes, exit codes, streams.
A crash leaves conmon and the container running, which is no fault: `core` finds them by their exit file or pid.
"""
