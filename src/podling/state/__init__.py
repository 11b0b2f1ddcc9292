"""The one truth: the SQLite database, its schema and migrations, the locks beside it, and the journal of intents.

In: rows, as plain tuples and dicts. Out: the same; `StateError` when the file is damaged or newer than we are.
Nothing here knows what a container is; `core` does.
"""
