"""What names of images mean, for those above the core."""

from __future__ import annotations


def candidates(name: str) -> list[str]:
    """The full names that a short one may mean, in the order in which they are tried (registries.conf).

    Raises:
        InvalidInput: not a name.
    """
    from podling.config import registries
    from podling.oci.reference import parse

    return [str(reference) for reference in registries.load().candidates(parse(name))]
