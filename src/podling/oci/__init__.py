"""The formats: references, digests, images, and the typed records that travel through the engine.

In: text and JSON from the outside. Out: typed values, or `InvalidInput` that names what is wrong.
"""
