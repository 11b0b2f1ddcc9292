"""Names for containers that were not given one: an adjective and a person who counted, computed or shipped things."""

from __future__ import annotations

import os

_LEFT = (
    "able agile amber bold brave brisk calm candid clear clever cosmic crisp daring deft eager early easy fair fleet fond frank fresh "
    "gentle glad golden grand happy hardy honest humble jolly keen kind lively lucid lucky mellow merry mild modest neat nimble noble "
    "patient placid plucky polite prompt proud quick quiet ready robust rosy serene sharp silent sleek smart smooth snug sober solid "
    "spry stable steady still stout subtle sunny swift tidy trim trusty upbeat vivid warm wise witty zesty"
).split()
_RIGHT = (
    "abel aiken babbage backus bartik boole brunel cantor cerf church clarke codd conway cook curie dijkstra engelbart erdos euler "
    "faraday fermat floyd galois gauss germain goldberg gosper gray hamilton hamming hilbert hoare holberton hollerith hopper huffman "
    "jacquard johnson kay kernighan kleene knuth kolmogorov lamarr lamport leibniz liskov lovelace mcarthy mclean metcalfe minsky moore "
    "naur nash neumann noether nygaard pascal perlis postel ramanujan ritchie rivest sammet shannon spence stallman stibitz tarjan "
    "thompson turing ullman vaughan wilkes wilson wing wirth zuse"
).split()


def random_name() -> str:
    """adjective_surname, of about 8,000."""
    number = int.from_bytes(os.urandom(4), "big")
    return f"{_LEFT[number % len(_LEFT)]}_{_RIGHT[number // len(_LEFT) % len(_RIGHT)]}"
