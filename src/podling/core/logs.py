"""`logs`: the lines of a container, whatever its log driver."""

from __future__ import annotations

from podling.core.containers import Container
from podling.core.filters import moment
from podling.errors import InvalidInput, Unsupported
from podling.runtime import logs
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def copy_text(container: Container, out: int, err: int, tail: int) -> bool:
    """Write the log's text to two descriptors, the short way; False where the log driver has none."""
    if container.config.log_driver != "k8s-file":
        return False
    logs.copy_text(container.config.log_path, out, err, tail=tail)
    return True


def read(
    container: Container, tail: int, since: str, until: str, follow: bool, *, patient: bool = True
) -> Iterator[logs.LogLine | None]:
    """Lines from the oldest; with `follow`, on until the container has ended. One that is not `patient` yields None when none comes.

    Raises:
        Unsupported: its log driver keeps nothing that can be read.
    """
    config = container.config
    start = moment(since, now()) if since else 0
    end = moment(until, now()) if until else 0
    if start and end and start > end:
        raise InvalidInput("--since is later than --until")

    def ended() -> bool:
        rows = container.ctx.db.row("SELECT status FROM containers WHERE key=?", container.key)
        if rows is None:
            return True
        container.load()
        return not container.is_alive

    if config.log_driver == "k8s-file":
        return logs.read_file(
            config.log_path, tail=tail, since=start, until=end, follow=follow, ended=ended, patient=patient
        )
    if config.log_driver == "journald":
        return logs.read_journal(container.id, tail=tail, since=start, until=end, follow=follow, ended=ended)
    raise Unsupported(
        f"container {container.name} uses the log driver {config.log_driver}, which keeps nothing to read",
        hint="--log-driver=k8s-file",
    )
