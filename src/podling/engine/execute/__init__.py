"""Executors of the catalogue's operations: from a record to `core` and back."""
