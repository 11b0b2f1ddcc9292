"""One run of the command line: the engine, and the ways to write to the person in front of it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.bars import Bars
    from podling.cli.flags import Args
    from podling.engine.local import Engine

#: global flags about the host where the containers are
_HOSTS_OWN = (
    "root", "runroot", "tmpdir", "runtime", "runtime-flag", "conmon", "storage-driver", "storage-opt", "cgroup-manager", "hooks-dir",
    "cdi-spec-dir", "network-backend", "network-cmd-path", "network-config-dir", "events-backend",
    "default-mounts-file",
)  # fmt: skip
_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")


class App:
    """`path` is the command's full name; `options` are the global flags."""

    def __init__(self, options: Args, path: str, argv: list[str]) -> None:
        self.options = options
        self.path = path
        self.argv = argv
        self.quiet = False
        self._engine: Engine | None = None
        #: transfers are shown as bars: for a person at a terminal
        self._bars = os.isatty(2) and os.environ.get("TERM") != "dumb"
        self._shown: Bars | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            from podling.config import containers, storage
            from podling.config.settings import Settings
            from podling.engine.local import Engine

            o = self.options
            containers.use_modules(o.module)
            for text in containers.load().warnings + storage.load().warnings:
                self.warn(text)
            if self._works_elsewhere():
                self._engine = self._remote()
                return self._engine
            settings = Settings(
                root=o.root, runroot=o.runroot, tmpdir=o.tmpdir, runtime=o.runtime, runtime_flags=o.runtime_flag, conmon=o.conmon,
                storage_driver=o.storage_driver, storage_opts=o.storage_opt, cgroup_manager=o.cgroup_manager, log_level=o.log_level,
                hooks_dirs=o.hooks_dir, cdi_dirs=o.cdi_spec_dir, network_backend=o.network_backend, events_backend=o.events_backend,
                volume_path=o.volumepath, image_store=o.imagestore, transient=o.transient_store,
                default_mounts_file=o.default_mounts_file, network_cmd_path=o.network_cmd_path, network_config_dir=o.network_config_dir,
            )  # fmt: skip
            self._engine = Engine(
                settings, warn=self.warn, progress=self.progress, meter=self._meter if self._bars else None,
                ask=self._ask if os.isatty(0) and os.isatty(1) else None,
            )  # fmt: skip
        return self._engine

    def _works_elsewhere(self) -> bool:
        """Flags say so, or the environment does and no flag means this host: the commands that conmon starts name their store."""
        o = self.options
        if o.remote or o.url or o.connection:
            return True
        if self.path in ("system service", "system dial-stdio") or any(
            o.__dict__[name.replace("-", "_")] for name in _HOSTS_OWN
        ):
            return False
        return "CONTAINER_HOST" in os.environ or "CONTAINER_CONNECTION" in os.environ

    def _remote(self) -> Engine:
        """The engine of the service that flags, the environment, or the connections' file name."""
        from podling.cli.flags import UsageError
        from podling.config import connections, containers
        from podling.engine.dial import Place
        from podling.engine.remote import RemoteEngine

        o, env = self.options, os.environ
        if o.url and o.connection:
            raise UsageError("--url and --connection exclude each other")
        for name in _HOSTS_OWN:
            if o.__dict__[name.replace("-", "_")]:
                raise UsageError(f"--{name} is for the service to choose: give it to `podling system service`")
        place = Place(url=o.url or ("" if o.connection else env.get("CONTAINER_HOST", "")))
        if not place.url:
            name = o.connection or env.get("CONTAINER_CONNECTION", "")
            known = connections.find(name) if name else connections.default()
            configured = containers.load().text("engine", "remote_uri")
            if known is None and configured:
                place = Place(url=configured, identity=containers.load().text("engine", "remote_identity"))
            elif known is not None:
                place = Place(
                    url=known.uri,
                    identity=known.identity,
                    tls_ca=known.tls_ca,
                    tls_cert=known.tls_cert,
                    tls_key=known.tls_key,
                )
            else:
                from podling.config.settings import service_address

                place = Place(url=service_address(os.geteuid()))
        place.identity = o.identity or env.get("CONTAINER_SSHKEY", "") or place.identity
        place.tls_ca = o.tls_ca or env.get("CONTAINER_TLS_CA", "") or place.tls_ca
        place.tls_cert = o.tls_cert or env.get("CONTAINER_TLS_CERT", "") or place.tls_cert
        place.tls_key = o.tls_key or env.get("CONTAINER_TLS_KEY", "") or place.tls_key
        return RemoteEngine(place, warn=self.warn, progress=self.progress, meter=self._meter if self._bars else None)

    def close(self) -> None:
        self._end_bars()
        if self._engine is not None:
            self._engine.close()

    # -- output
    def out(self, text: str) -> None:
        """One or more lines to standard output."""
        self._end_bars()
        write(1, text + "\n")

    def warn(self, text: str) -> None:
        if self.options.syslog:
            to_syslog(text, warning=True)
        if _LEVELS.index(self.options.log_level) <= _LEVELS.index("warning"):
            write(2, f"WARN: {text}\n")

    def log(self, text: str) -> None:
        """A line of a long-running command, with the time, to standard error."""
        import time

        write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")

    def progress(self, text: str) -> None:
        if self.quiet or (self._bars and text.startswith("Copying ") and ":" not in text.partition("sha256:")[2]):
            return  # a bar says it
        if self._shown is not None:
            self._shown.line(text)
        else:
            write(2, text + "\n")

    def error(self, error: Exception) -> None:
        self._end_bars()
        if self.options.syslog:
            to_syslog(str(error))
        write(2, describe(error))

    # -- a person at a terminal
    def _meter(self, what: str, more: int, total: int) -> None:
        if self.quiet:
            return
        if self._shown is None:
            from podling.cli.bars import Bars

            self._shown = Bars()
        self._shown.advance(what, more, total)

    def _end_bars(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _ask(self, question: str, choices: list[str]) -> int:
        """Let the person choose; the first choice is what Enter means."""
        write(2, f"{question}\n" + "".join(f"  {n}) {choice}\n" for n, choice in enumerate(choices, 1)))
        while True:
            answer = input(f"[1-{len(choices)}, default 1] ").strip()
            if not answer or (answer.isdigit() and 1 <= int(answer) <= len(choices)):
                return int(answer or 1) - 1

    def confirm(self, warning: str) -> bool:
        """Whether the person wants it; "no" where nobody can be asked."""
        write(1, warning + "\nAre you sure you want to continue? [y/N] ")
        try:
            return input().strip().lower() in ("y", "yes")
        except EOFError:
            write(1, "\n")
            return False

    def report(self, done: list[str], errors: list[Exception], *, default_code: int = 125) -> int:
        """Print what was done, then what went wrong; the exit code as Podman's: of one kind of error its own, else 125."""
        if done:
            self.out("\n".join(done))
        for error in errors:
            self.error(error)
        if not errors:
            return 0
        codes = {getattr(error, "exit_code", default_code) for error in errors}
        return codes.pop() if len(codes) == 1 else default_code


def describe(error: Exception) -> str:
    """`Error: …`, and a hint on a second line."""
    text = f"Error: {error}\n"
    hint = getattr(error, "hint", "")
    return text + (f"Hint: {hint}\n" if hint else "")


def to_syslog(text: str, *, warning: bool = False) -> None:
    """--syslog; nothing where nobody listens."""
    import syslog

    syslog.openlog("podling", syslog.LOG_PID)
    syslog.syslog(syslog.LOG_WARNING if warning else syslog.LOG_ERR, text)


def write(fd: int, text: str) -> None:
    """Write all of `text`; a reader that has gone away ends the program quietly, as for every filter in a pipe."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        os._exit(141)
