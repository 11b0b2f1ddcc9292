"""Configuration: where things are, registries.conf, and credentials. Each file is read only by who needs it.

In: files, environment, global flags. Out: typed settings; `InvalidInput` with file and line when a file is broken.
"""
