"""tests/integration/test_build.py through a service."""

from tests.integration.test_build import *  # noqa: F403

del test_an_agent_for_ssh  # noqa: F821 - agents are of the service's host
del test_files_instead_of_an_image  # noqa: F821 - so is what --output names
del test_from_a_registry_and_from_python  # noqa: F821 - the library's own affair
del test_where_contexts_come_from  # noqa: F821 - folders of --build-context do not travel
del test_layers_go_with_their_images, test_a_build_that_can_be_repeated  # noqa: F821 - of stores of their own
