"""Running without privileges: subordinate ids, the user namespace that all commands of one user share, its pause process.

In: the calling user and what /etc/subuid grants. Out: this very process as root of that namespace, or the maps that a container gets.
"""
