"""Every operation, declared once: its parameters as a typed record, where it runs, and where the REST API will serve it.

`executor` is `module:function` below `podling.engine.execute`; the function takes the context and the record. `route` is the
libpod route whose parameters the record covers. One module per family, so that a command loads its own alone.
"""
