"""Kubernetes' documents: pods that are made of them, and documents of what is here.

In: YAML with Pods, Deployments, DaemonSets, Jobs, PersistentVolumeClaims, ConfigMaps, Secrets. Out: pods, containers, volumes and secrets
of ours; and the other way round. On top of core, which makes pods; it knows nothing of a cluster, but for `apply`, which talks to one.
"""
