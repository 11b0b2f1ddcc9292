"""run, create, attach, and start --attach."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import containers as ops
from podling.engine.types import CreateOptions, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args

HEALTH_FLAGS = (
    Flag("health-cmd", "", "string", 'Command that checks the container, or "none"'),
    Flag("health-interval", "", "string", 'Time between checks, or "disable" (default 30s)'),
    Flag("health-log-destination", "", "string", "Where results are kept: local, events_logger, or a folder"),
    Flag("health-max-log-count", "", "int", "How many results are kept; 0 is all (default 5)", -1),
    Flag("health-max-log-size", "", "int", "How many characters of output are kept; 0 is all (default 500)", -1),
    Flag("health-on-failure", "", "string", "What happens to an unhealthy container: none, kill, restart, stop"),
    Flag("health-retries", "", "int", "Failures in a row that make it unhealthy (default 3)", -1),
    Flag("health-start-period", "", "string", "Time in which failures do not count"),
    Flag("health-startup-cmd", "", "string", "Command that tells when the container has started"),
    Flag("health-startup-interval", "", "string", "Time between such checks (default 30s)"),
    Flag("health-startup-retries", "", "int", "Failures in a row that end the attempt", -1),
    Flag("health-startup-success", "", "int", "Successes in a row that are wanted", -1),
    Flag("health-startup-timeout", "", "string", "Time that such a check may take (default 30s)"),
    Flag("health-timeout", "", "string", "Time that a check may take (default 30s)"),
    Flag("no-healthcheck", "", "bool", "Leave the image's check out"),
)
PRESERVE = (
    Flag("preserve-fd", "", "slice", "Pass these further descriptors, such as 5,7"),
    Flag("preserve-fds", "", "int", "Pass that many further descriptors, from 3 on"),
)
#: every flag here is a field of CreateOptions; `network` and `env` have aliases below
CREATE_FLAGS = (
    Flag("add-host", "", "slice", "Add a line to /etc/hosts (HOST:IP)"),
    Flag("annotation", "", "list", "Add an annotation (KEY=VALUE)"),
    Flag("authfile", "", "string", "Path of the authentication file", value="path"),
    Flag("arch", "", "string", "Choose the image of this architecture"),
    Flag("blkio-weight-device", "", "list", "Block IO weight of one device (DEVICE:WEIGHT)"),
    Flag("cgroup-conf", "", "slice", "Write a file of the cgroup (NAME=VALUE), on cgroup v2"),
    Flag("cpu-rt-period", "", "int", "Period of the real-time scheduler, in microseconds"),
    Flag("cpu-rt-runtime", "", "int", "Real-time run time in each period, in microseconds"),
    Flag("decryption-key", "", "list", "Private key for encrypted layers: PATH[:PASSWORD]", value="key"),
    Flag("device-read-bps", "", "list", "Limit of bytes a second read from a device (DEVICE:BYTES)"),
    Flag("device-read-iops", "", "list", "Limit of reads a second from a device (DEVICE:NUMBER)"),
    Flag("device-write-bps", "", "list", "Limit of bytes a second written to a device (DEVICE:BYTES)"),
    Flag("device-write-iops", "", "list", "Limit of writes a second to a device (DEVICE:NUMBER)"),
    Flag("disable-content-trust", "", "bool", "Accepted for Docker's sake", hidden=True),
    Flag("env-merge", "", "list", "Set a variable from those of the image (NAME=${OTHER}-x)"),
    Flag("group-entry", "", "string", "Line for /etc/group"),
    *HEALTH_FLAGS,
    Flag("hosts-file", "", "string", "What /etc/hosts is made from: a path, image or none"),
    Flag("image-volume", "", "string", "What becomes of the image's volumes: anonymous, ignore, tmpfs"),
    Flag("no-hostname", "", "bool", "Do not make /etc/hostname"),
    Flag("os", "", "string", "Choose the image of this operating system"),
    Flag("passwd-entry", "", "string", "Line for /etc/passwd"),
    Flag("personality", "", "string", "Execution domain: LINUX or LINUX32"),
    Flag("rdt-class", "", "string", "Class of service of Intel RDT"),
    Flag("requires", "", "slice", "Containers that must be started (or :healthy, :completed) before this one"),
    Flag("restart", "", "string", "Restart policy: no, on-failure[:N], always, unless-stopped"),
    Flag("retry", "", "int", "How often to try to fetch the image again after a failure", 3),
    Flag("retry-delay", "", "string", "How long to wait between attempts, such as 2s"),
    Flag("secret", "", "list", "Give the container a secret (NAME[,type=mount|env][,target=…][,uid=…][,mode=…])"),
    Flag("signature-policy", "", "string", "Path of another signature policy", value="path", hidden=True),
    Flag("unsetenv", "", "list", "Take a default variable out of the environment"),
    Flag("unsetenv-all", "", "bool", "Take all default variables out of the environment"),
    Flag("variant", "", "string", "Choose the image of this variant"),
    Flag("volumes-from", "", "list", "Mount the volumes of another container (CONTAINER[:OPTIONS])"),
    Flag("blkio-weight", "", "int", "Block IO weight, between 10 and 1000"),
    Flag("cap-add", "", "slice", "Add Linux capabilities"),
    Flag("cap-drop", "", "slice", "Drop Linux capabilities"),
    Flag("cert-dir", "", "string", "Folder with certificates for the registry", value="path"),
    Flag("cgroup-parent", "", "string", "Cgroup below which the container's cgroup is made"),
    Flag("cgroupns", "", "string", "Cgroup namespace: private, host, container:NAME, ns:PATH"),
    Flag("cgroups", "", "string", "How cgroups are made: enabled, disabled, no-conmon, split"),
    Flag("cidfile", "", "string", "Write the container's id to a file", value="file"),
    Flag("conmon-pidfile", "", "string", "Write conmon's pid to a file", value="file"),
    Flag("cpu-period", "", "int", "CPU quota period of the CFS scheduler, in microseconds"),
    Flag("cpu-quota", "", "int", "CPU quota of the CFS scheduler, in microseconds"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "float", "Number of CPUs; 0 is no limit"),
    Flag("cpuset-cpus", "", "string", "CPUs to run on, such as 0-3 or 0,1"),
    Flag("cpuset-mems", "", "string", "Memory nodes to use"),
    Flag("creds", "", "string", "USER:PASSWORD for the registry"),
    Flag("detach-keys", "", "string", "Keys that detach from the container", "ctrl-p,ctrl-q"),
    Flag("device", "", "list", "Add a host device (HOST[:CONTAINER][:rwm])"),
    Flag("device-cgroup-rule", "", "slice", "Add a rule to the device cgroup, such as 'c 1:3 rwm'"),
    Flag("dns", "", "slice", "DNS servers"),
    Flag("dns-option", "", "slice", "DNS options"),
    Flag("dns-search", "", "slice", "DNS search domains"),
    Flag("entrypoint", "", "string", "Use this entry point instead of the image's (a command, or a JSON list)"),
    Flag("env", "e", "list", "Set an environment variable (NAME=VALUE; NAME takes yours, NAME* all that begin so)"),
    Flag("env-file", "", "list", "Read environment variables from a file", value="file"),
    Flag("env-host", "", "bool", "Pass the whole environment of the host"),
    Flag("expose", "", "slice", "Note that the container listens on a port"),
    Flag("group-add", "", "slice", "Add groups to the first process"),
    Flag("hostname", "h", "string", "Host name of the container"),
    Flag("http-proxy", "", "bool", "Pass the host's proxy variables", True),
    Flag("init", "", "bool", "Run an init in the container that passes signals on and reaps processes"),
    Flag("init-path", "", "string", "Path of that init program", value="path"),
    Flag("interactive", "i", "bool", "Keep standard input open"),
    Flag("ip", "", "string", "IPv4 or IPv6 address of the container"),
    Flag("ip6", "", "string", "IPv6 address of the container"),
    Flag("pod", "", "string", "Make the container part of a pod: its name, or new:NAME", value="name"),
    Flag("pod-id-file", "", "string", "Read the pod's id from a file", value="file"),
    Flag("chrootdirs", "", "list", "Folder in the container that gets the managed files of /etc too"),
    Flag("gpus", "", "slice", "Give the container GPUs: all, a number, or device=NAME"),
    Flag("kernel-memory", "", "string", "Accepted for Docker's sake; kernels have no such limit any more", hidden=True),
    Flag("sdnotify", "", "string", "What systemd is told: container, conmon, healthy, ignore", "container"),
    Flag("seccomp-policy", "", "string", "Where the seccomp profile comes from: default, image", "default"),
    Flag("shm-size-systemd", "", "string", "Size of systemd's tmpfs: /run, /run/lock, /tmp, /var/log/journal"),
    Flag(
        "systemd",
        "",
        "string",
        "Make the container fit for systemd: true (where the command is one), false, always",
        "true",
    ),
    Flag("userns", "", "string", "User namespace: auto, host, keep-id, nomap, container:NAME or ns:PATH"),
    Flag("uidmap", "", "slice", "Map user ids (CONTAINER:HOST[:COUNT])"),
    Flag("gidmap", "", "slice", "Map group ids (CONTAINER:HOST[:COUNT])"),
    Flag("subuidname", "", "string", "Map the user ids that /etc/subuid grants to this name", value="name"),
    Flag("subgidname", "", "string", "Map the group ids that /etc/subgid grants to this name", value="name"),
    Flag("hostuser", "", "slice", "Give a user of the host an entry in the container's passwd"),
    Flag("ipc", "", "string", "IPC namespace: private, host, container:NAME, ns:PATH"),
    Flag("label", "l", "list", "Add a label (KEY=VALUE)"),
    Flag("label-file", "", "list", "Read labels from a file", value="file"),
    Flag("log-driver", "", "string", "Log driver: k8s-file, json-file, journald, none, passthrough, passthrough-tty"),
    Flag("log-opt", "", "list", "Option of the log driver: path=, max-size=, tag="),
    Flag("mac-address", "", "string", "MAC address of the container"),
    Flag("memory", "m", "string", "Memory limit, such as 512m or 2g"),
    Flag("memory-reservation", "", "string", "Soft limit of memory"),
    Flag("memory-swap", "", "string", "Limit of memory and swap together; -1 is no limit"),
    Flag("memory-swappiness", "", "int", "How eagerly memory is swapped out, 0 to 100", -1),
    Flag("mount", "", "list", "Mount something (type=bind|volume|tmpfs,source=…,target=…)"),
    Flag("name", "", "string", "Name of the container"),
    Flag(
        "network",
        "",
        "list",
        "Network: bridge, none, host, container:NAME, ns:PATH, or NAME[:ip=…,mac=…,alias=…,interface_name=…]; may be repeated",
    ),
    Flag("network-alias", "", "slice", "A further name of the container on its networks"),
    Flag("no-hosts", "", "bool", "Do not make /etc/hosts"),
    Flag("oom-kill-disable", "", "bool", "Keep the kernel from killing the container when memory runs out"),
    Flag("oom-score-adj", "", "int", "Adjust the host's OOM preferences, -1000 to 1000"),
    Flag("pid", "", "string", "PID namespace: private, host, container:NAME, ns:PATH"),
    Flag("pidfile", "", "string", "Write the pid of the first process to a file", value="file"),
    Flag("pids-limit", "", "int", "Limit of processes; -1 is no limit", field="pids_limit"),
    Flag("platform", "", "string", "Platform of the image, such as linux/arm64"),
    Flag("privileged", "", "bool", "Give the container all capabilities and devices"),
    Flag("publish", "p", "slice", "Publish a port ([[IP:][HOST]:]CONTAINER[/PROTOCOL])"),
    Flag("publish-all", "P", "bool", "Publish all exposed ports to free ports of the host"),
    Flag("pull", "", "string", "When to fetch the image: always, missing, never, newer", "missing"),
    Flag("read-only", "", "bool", "Make the root file system read-only"),
    Flag("read-only-tmpfs", "", "bool", "With --read-only, mount tmpfs on /run, /tmp and /var/tmp", True),
    Flag("replace", "", "bool", "Remove a container that has the same name"),
    Flag("rm", "", "bool", "Remove the container when it ends"),
    Flag("rootfs", "", "bool", "The first argument is a folder with a root file system"),
    Flag(
        "security-opt",
        "",
        "list",
        "Security option: seccomp=, no-new-privileges, apparmor=, label=, mask=, unmask=, proc-opts=",
    ),
    Flag("shm-size", "", "string", "Size of /dev/shm", "64m"),
    Flag("stop-signal", "", "string", "Signal that stops the container"),
    Flag("stop-timeout", "", "int", "Seconds from the stop signal to SIGKILL", 10),
    Flag("sysctl", "", "slice", "Set a kernel parameter of the container's namespaces (NAME=VALUE)"),
    Flag("timeout", "", "int", "Seconds after which the container is killed; 0 is never"),
    Flag("tls-verify", "", "tristate", "Check the registry's certificate"),
    Flag("tmpfs", "", "list", "Mount a tmpfs (PATH[:OPTIONS])"),
    Flag("tty", "t", "bool", "Give the container a terminal"),
    Flag("tz", "", "string", "Time zone, such as Europe/Berlin, or local"),
    Flag("ulimit", "", "slice", "Limit of a process (NAME=SOFT[:HARD]), or host"),
    Flag("umask", "", "string", "Umask of the first process"),
    Flag("user", "u", "string", "User of the first process (NAME or UID[:GROUP])"),
    Flag("uts", "", "string", "UTS namespace: private, host, container:NAME, ns:PATH"),
    Flag("volume", "v", "list", "Mount a folder or a volume ([SOURCE:]TARGET[:OPTIONS])"),
    Flag("workdir", "w", "string", "Working folder of the first process"),
    Flag("quiet", "q", "bool", "Do not show how the image is fetched"),
)
_NOT_OPTIONS = frozenset(
    (
        "help",
        "quiet",
        "detach",
        "sig_proxy",
        "arch",
        "os",
        "variant",
        "disable_content_trust",
        "ns",
        "preserve_fd",
        "preserve_fds",
    )
)


def _options(app: App, args: Args) -> CreateOptions:
    values = {
        name: value
        for name, value in args.__dict__.items()
        if name not in _NOT_OPTIONS and name not in ("rest", "given")
    }
    if args.arch or args.os or args.variant:
        from podling.cli.commands.registries import chosen_platform

        values["platform"] = chosen_platform(args)
    if "stop_timeout" not in args.given:
        values["stop_timeout"] = -1
    if "entrypoint" not in args.given:
        values["entrypoint"] = None
    if "shm_size" not in args.given:
        values["shm_size"] = ""
    if values["pids_limit"] == 0 and "pids_limit" in args.given:
        values["pids_limit"] = -1
    app.quiet = args.quiet
    return CreateOptions(image=args.rest[0], command=args.rest[1:], create_command=["podling", *app.argv], **values)


def preserved(args: Args) -> list[int]:
    """The descriptors of --preserve-fds and --preserve-fd. They must be open now: later the numbers may be ours.

    Raises:
        UsageError.
    """
    try:
        fds = sorted({*range(3, 3 + args.preserve_fds), *(int(text) for text in args.preserve_fd)})
    except ValueError:
        raise UsageError("--preserve-fd: not a list of numbers") from None
    for fd in fds:
        try:
            if fd < 3:
                raise UsageError(f"--preserve-fd {fd}: 0, 1 and 2 are the streams", hint="numbers from 3 on")
            os.fstat(fd)
        except OSError:
            raise UsageError(
                f"file descriptor {fd} is not available - the preserve-fds option requires that file descriptors are passed"
            ) from None
    return _without_gaps(fds)


def _without_gaps(fds: list[int]) -> list[int]:
    """All numbers from 3 on: runtimes pass whole ranges. What lies between is /dev/null, so that nothing of ours can be there."""
    if not fds:
        return []
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in range(3, max(fds)):
        if number not in fds and number != null:
            os.dup2(null, number, inheritable=False)
    if null > max(fds):
        os.close(null)
    return list(range(3, max(fds) + 1))


def _create(app: App, args: Args) -> int:
    app.out(app.engine.call(ops.CreateContainer(options=_options(app, args))))
    return 0


def _run(app: App, args: Args) -> int:
    if args.detach and args.attach:
        raise UsageError("--attach and --detach cannot be used together")
    for stream in args.attach:
        if stream.lower() not in ("stdin", "stdout", "stderr"):
            raise UsageError(f'invalid stream "{stream}" for --attach', hint="stdin, stdout or stderr")
    fds = preserved(args)
    args.__dict__["rm"] = args.rm or args.rmi
    options = _options(app, args)
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        app.warn("The input device is not a TTY. The --tty and --interactive flags might not work properly")
    engine = app.engine
    id = engine.call(ops.CreateContainer(options=options))
    try:
        if args.detach:
            report = engine.call(ops.StartContainers(names=[id], preserve_fds=fds))
            if report.errors:
                raise report.errors[0]
            app.out(id)
            engine.call(ops.WarnOfLogout())
            return 0
        code: int | None = engine.call(
            ops.RunAttached(name=id, streams=_streams(args), sig_proxy=args.sig_proxy, preserve_fds=fds)
        )
        return 0 if code is None else code
    except BaseException:
        if options.rm:
            engine.call(ops.RemoveContainers(names=[id], force=True, ignore=True, volumes=True))
        raise


def _streams(args: Args) -> Streams:
    wanted = {stream.lower() for stream in args.attach} or {
        "stdout",
        "stderr",
        *(["stdin"] if args.interactive else []),
    }
    if args.interactive:
        wanted.add("stdin")
    return Streams(
        stdin=0 if "stdin" in wanted else -1,
        stdout=1 if "stdout" in wanted else -1,
        stderr=2 if "stderr" in wanted else -1,
    )


def _attach(app: App, args: Args) -> int:
    if bool(args.rest) == args.latest:
        raise UsageError("attach requires the name or id of one running container, or --latest")
    streams = Streams(stdin=-1 if args.no_stdin else 0, stdout=1, stderr=2)
    code: int | None = app.engine.call(
        ops.AttachContainer(
            name=args.rest[0] if args.rest else "",
            latest=args.latest,
            streams=streams,
            sig_proxy=args.sig_proxy,
            detach_keys=args.detach_keys if "detach_keys" in args.given else "",
        )
    )
    return 0 if code is None else code


def attach_started(app: App, args: Args) -> int:
    """`start --attach` of one container."""
    name = args.rest[0] if args.rest else app.engine.containers.list(last=1)[0].id
    streams = Streams(stdin=0 if args.interactive else -1, stdout=1, stderr=2)
    code: int | None = app.engine.call(ops.RunAttached(name=name, streams=streams, sig_proxy=args.sig_proxy))
    return 0 if code is None else code


_SIG_PROXY = Flag("sig-proxy", "", "bool", "Pass signals on to the process", True)
_DETACH_KEYS = Flag("detach-keys", "", "string", "Keys that detach", "ctrl-p,ctrl-q")

CREATE = Command(
    _create,
    "[options] IMAGE [COMMAND [ARG...]]",
    "Creates a container from an image and prints its id; `podling start` starts it.",
    *CREATE_FLAGS,
    Flag("attach", "a", "slice", "Streams that a client is to join: stdin, stdout, stderr"),
    Flag("ns", "", "string", "Accepted; there is one namespace", hidden=True),
    Flag(
        "init-ctr",
        "",
        "string",
        "Run to its end before the rest of its pod, with every start of the pod (always) or once",
    ),
    least=1,
    stop_at_argument=True,
    examples=(
        "create busybox ls",
        "create --annotation HELLO=WORLD busybox ls",
        "create -t -i --name myctr busybox sh",
    ),
)
RUN = Command(
    _run,
    "[options] IMAGE [COMMAND [ARG...]]",
    "Creates a container from an image and starts it; the command's exit code is the result.",
    *CREATE_FLAGS,
    Flag("attach", "a", "slice", "Streams to join: stdin, stdout, stderr"),
    Flag("detach", "d", "bool", "Leave the container in the background and print its id"),
    *PRESERVE,
    Flag("passwd", "", "bool", "Add a line to /etc/passwd for a user that the image does not know", True),
    Flag("rmi", "", "bool", "Remove the image too when the container ends; implies --rm"),
    _SIG_PROXY,
    least=1,
    stop_at_argument=True,
    examples=("run --rm -it localhost/busybox sh", "run -d -p 8080:80 --name web docker.io/library/nginx"),
)
ATTACH = Command(
    _attach,
    "[options] CONTAINER",
    "Joins the streams of a running container; the detach keys leave it running.",
    _DETACH_KEYS,
    Flag("latest", "l", "bool", "The container created last"),
    Flag("no-stdin", "", "bool", "Do not join standard input"),
    _SIG_PROXY,
    most=1,
    examples=("attach web",),
)
