"""Layers on disk.

    <root>/overlay/<key>/diff      the layer's files; whiteouts as overlayfs has them (character device 0:0, opaque xattr)
    <root>/overlay/<key>/work      overlayfs work folder, of a container's layer
    <root>/overlay/<key>/merged    mount point, of a container's layer
    <root>/vfs/<key>/diff          the whole root file system up to this layer, with copies of all below
    <root>/<driver>/<key>/recipe   how to write the layer's tar again, bit by bit (see recipe.py)

In: tar streams and layer keys. Out: mounted root file systems, tar streams, sizes; `BadArchive` for hostile or corrupt input.
A crash leaves at most a folder <key> whose intent is still in the journal; `Store.recover` removes it.
"""
