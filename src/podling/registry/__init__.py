"""Images on the wire and in archives: the distribution client, docker-archive and oci-archive.

In: references and credentials, or files. Out: manifests, configurations and layer streams, every one checked against its digest.
Knows nothing of the database; `core` stores what it gives.
"""
