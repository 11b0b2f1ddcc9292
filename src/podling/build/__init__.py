"""Builds: Containerfiles to images.

In: a context (a folder, a tar, a URL) and options. Out: an image, and lines that say how far it is. On top of core, which runs the
containers of RUN, and of storage, which makes layers. Steps are kept in the database with the layers that they made, so that the next
build need not do them again.
"""
