"""HTTP in, HTTP out: Podman's REST API and Docker's, on the catalogue of operations.

What enters is a request; what leaves is what the engine answered, in Podman's shape under /libpod and in Docker's elsewhere.
`server` listens, `router` finds the function for a path, `call` is one request, `streams` and `hijack` are the ways to answer at
length. `routes` holds the functions, `docker` and `libpod` what is particular to the two dialects. Knows only `engine`.
"""
