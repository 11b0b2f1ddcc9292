"""Builds of tests/integration/test_build.py through a service: those for which it matters where context, streams and errors are."""

from tests.integration.test_build import (
    context,
    test_a_required_secret_that_is_missing,
    test_an_image_of_all_instructions,
    test_an_interrupted_build_leaves_nothing,
    test_arguments_make_other_steps,
    test_broken_builds,
    test_contexts_that_are_none,
    test_copies,
    test_docker_format_has_more,
    test_mounts_of_run,
    test_what_is_left_out,
    test_who_reads_no_more_ends_the_step,
    tidy,
)

__all__ = [
    "context", "test_a_required_secret_that_is_missing", "test_an_image_of_all_instructions", "test_an_interrupted_build_leaves_nothing",
    "test_arguments_make_other_steps", "test_broken_builds", "test_contexts_that_are_none", "test_copies", "test_docker_format_has_more",
    "test_mounts_of_run", "test_what_is_left_out", "test_who_reads_no_more_ends_the_step", "tidy",
]  # fmt: skip
