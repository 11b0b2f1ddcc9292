"""The commands as data: path, module and name of the `Command`, summary. Help reads this and imports no command."""

from __future__ import annotations

import os

from podling.cli.flags import Args, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.command import Command

GLOBAL_FLAGS = (
    Flag("cdi-spec-dir", "", "list", "Folder with files that describe CDI devices", value="path", inherited=True),
    Flag("cgroup-manager", "", "string", 'Cgroup manager to use ("cgroupfs"|"systemd")', inherited=True),
    Flag("config", "", "string", "Folder with the config.json that holds credentials (DOCKER_CONFIG)", value="path"),
    Flag("conmon", "", "string", "Path of the conmon binary", value="path", inherited=True),
    Flag("connection", "c", "string", "Work at the service of this connection", value="name"),
    Flag("context", "", "string", "Docker's name for --connection", hidden=True),
    Flag("cpu-profile", "", "string", "Write where the command spent its time (pstats)", value="file", hidden=True),
    Flag("db-backend", "", "string", "Accepted: the database is SQLite", hidden=True),
    Flag("debug", "D", "bool", "The same as --log-level=debug", hidden=True),
    Flag("default-mounts-file", "", "string", "Another mounts.conf", value="path", hidden=True, inherited=True),
    Flag("events-backend", "", "string", 'Where events are kept ("database"|"file"|"journald"|"none")', inherited=True),
    Flag("help", "h", "bool", "Show this help"),
    Flag("hooks-dir", "", "list", "Folder with OCI hooks", value="path", inherited=True),
    Flag("host", "H", "string", "Docker's name for --url", hidden=True),
    Flag("identity", "", "string", "The ssh key for the service (CONTAINER_SSHKEY)", value="path"),
    Flag("log-level", "", "string", "Log from this level on: trace, debug, info, warn, error, fatal, panic", "warn", inherited=True),
    Flag("max-workers", "", "int", "Accepted: the number of workers follows from the work", hidden=True),
    Flag("memory-profile", "", "string", "Write where the command allocated memory", value="file", hidden=True),
    Flag("module", "", "list", "Read this file of settings on top of containers.conf"),
    Flag("network-backend", "", "string", 'Who sets up bridges ("native"|"netavark")', inherited=True),
    Flag("network-cmd-path", "", "string", "Path of the slirp4netns binary", value="path", inherited=True),
    Flag("network-config-dir", "", "string", "Folder with the files of networks", value="path", inherited=True),
    Flag("namespace", "", "string", "Accepted; there is one namespace", hidden=True),
    Flag("noout", "", "bool", "Print no results", hidden=True),
    Flag("out", "", "string", "Write results to a file instead of standard output", value="file"),
    Flag("pull-option", "", "list", "Accepted: pulls are always of whole layers", hidden=True),
    Flag("registries-conf", "", "string", "Another registries.conf (CONTAINERS_REGISTRIES_CONF)", value="path", hidden=True),
    Flag("remote", "r", "bool", "Work at a service instead of in this process"),
    Flag("root", "", "string", "Path to the folder that holds images, containers and the database", value="path", inherited=True),
    Flag("runroot", "", "string", "Path to the folder that holds runtime state, void after a reboot", value="path", inherited=True),
    Flag("runtime", "", "string", "OCI runtime to run containers with: a name, or a path (crun)", inherited=True),
    Flag("runtime-flag", "", "list", "Add a global flag for the OCI runtime", inherited=True),
    Flag("storage-driver", "", "string", 'Storage driver ("overlay"|"vfs")', inherited=True),
    Flag("imagestore", "", "string", "Folder that layers of images are kept in", inherited=True),
    Flag("transient-store", "", "bool", "Containers made now end with a reboot", inherited=True),
    Flag("volumepath", "", "string", "Folder that volumes are kept in", inherited=True),
    Flag("storage-opt", "", "list", "Option of the storage driver, such as overlay.mount_program=PATH", inherited=True),
    Flag("ssh", "", "string", 'How ssh is spoken ("native": the ssh command, as always here)', "native", hidden=True),
    Flag("syslog", "", "bool", "Send warnings and errors to syslog too", inherited=True),
    Flag("tls-ca", "", "string", "The authority that the service's certificate is checked against (PEM)", value="path"),
    Flag("tls-cert", "", "string", "Our certificate for the service (PEM)", value="path"),
    Flag("tls-key", "", "string", "The key of our certificate (PEM)", value="path"),
    Flag("tmpdir", "", "string", "Path to the folder for exit files and sockets", value="path", inherited=True),
    Flag("trace", "", "bool", "Accepted: --log-level=trace traces", hidden=True),
    Flag("url", "", "string", "Work at the service here: unix://PATH, tcp://HOST:PORT, ssh://USER@HOST/PATH (CONTAINER_HOST)"),
    Flag("version", "v", "bool", "Show the version"),
)  # fmt: skip
LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

#: path: (module below podling.cli.commands, name in it, summary)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "attach": ("run", "ATTACH", "Attach to a running container"),
    "auto-update": ("autoupdate", "AUTO_UPDATE", "Give containers the newer images of their names"),
    "build": ("build", "BUILD", "Build an image of a Containerfile"),
    "completion": ("completion", "COMPLETION", "Print the script that completes command lines in a shell"),
    "commit": ("containers", "COMMIT", "Make an image of a container's changes"),
    "cp": ("upkeep", "CP", "Copy files between a container and the host"),
    "create": ("run", "CREATE", "Create but do not start a container"),
    "doctor": ("care", "DOCTOR", "Check what an engine needs of this host"),
    "diff": ("images", "DIFF", "Show what a container or an image changes"),
    "events": ("system", "EVENTS", "Show what happens in the engine"),
    "exec": ("exec", "EXEC", "Run a process in a running container"),
    "export": ("upkeep", "EXPORT", "Write a container's file system as a tar"),
    "history": ("images", "HISTORY", "Show the steps that made an image"),
    "images": ("images", "IMAGES", "List images in local storage"),
    "import": ("archives", "IMPORT", "Make an image of a root file system in a tar"),
    "info": ("system", "INFO", "Show information about host and store"),
    "inspect": ("inspect", "INSPECT", "Show the details of containers and images"),
    "kill": ("lifecycle", "KILL", "Send a signal to running containers"),
    "load": ("archives", "LOAD", "Load images from an archive"),
    "login": ("registries", "LOGIN", "Log in to a registry"),
    "logout": ("registries", "LOGOUT", "Forget the credentials for a registry"),
    "logs": ("logs", "LOGS", "Show the logs of containers"),
    "mount": ("upkeep", "MOUNT", "Mount the root file systems of containers"),
    "pause": ("lifecycle", "PAUSE", "Pause all processes in containers"),
    "port": ("containers", "PORT", "List port mappings of a container"),
    "ps": ("ps", "PS", "List containers"),
    "pull": ("registries", "PULL", "Fetch an image from a registry"),
    "push": ("registries", "PUSH", "Send an image to a registry or a file"),
    "rename": ("containers", "RENAME", "Rename a container"),
    "restart": ("lifecycle", "RESTART", "Restart containers"),
    "rm": ("lifecycle", "RM", "Remove containers"),
    "rmi": ("images", "RMI", "Remove images from local storage"),
    "run": ("run", "RUN", "Run a command in a new container"),
    "save": ("archives", "SAVE", "Save images to an archive"),
    "search": ("registries", "SEARCH", "Search registries for images"),
    "start": ("lifecycle", "START", "Start containers"),
    "stats": ("stats", "STATS", "Show what containers use of the host"),
    "stop": ("lifecycle", "STOP", "Stop containers"),
    "tag": ("images", "TAG", "Give an image further names"),
    "top": ("containers", "TOP", "Show the processes of a container"),
    "unmount": ("upkeep", "UNMOUNT", "Unmount the root file systems of containers"),
    "unpause": ("lifecycle", "UNPAUSE", "Let paused containers go on"),
    "init": ("lifecycle", "INIT", "Make containers ready for a start"),
    "untag": ("images", "UNTAG", "Take names away from an image"),
    "unshare": ("care", "UNSHARE", "Run a command in this user's namespace"),
    "update": ("upkeep", "UPDATE", "Change the settings of a container"),
    "version": ("system", "VERSION", "Show version information"),
    "wait": ("lifecycle", "WAIT", "Wait for containers to stop"),
}
_CONTAINER = (
    "attach commit cp create exec export mount stats unmount update "
    "inspect kill logs pause port ps rename restart rm run start stop top unpause wait"
).split()
for _name in _CONTAINER:
    COMMANDS[f"container {_name}"] = COMMANDS[_name]
for _name in ("build", "history", "import", "load", "pull", "push", "save", "search", "tag", "untag", "inspect"):
    COMMANDS[f"image {_name}"] = COMMANDS[_name]
COMMANDS["container inspect"] = ("inspect", "CONTAINER_INSPECT", "Show the details of containers")
COMMANDS["container exists"] = ("containers", "EXISTS", "Check if a container exists")
COMMANDS["container clone"] = ("upkeep", "CLONE", "Make a container like another one")
COMMANDS["container checkpoint"] = ("checkpoint", "CHECKPOINT", "Freeze running containers into files")
COMMANDS["container restore"] = ("checkpoint", "RESTORE", "Let containers go on from their checkpoints")
COMMANDS["container init"] = COMMANDS["init"]
COMMANDS["container runlabel"] = ("runlabel", "RUNLABEL", "Run the command in an image's label")
COMMANDS["container prune"] = ("upkeep", "PRUNE", "Remove all containers that do not run")
_OBJECTS = {
    "network connect": "Put a container on a network",
    "network create": "Make a network",
    "network disconnect": "Take a container off a network",
    "network exists": "Check if a network exists",
    "network inspect": "Show the details of networks",
    "network ls": "List networks",
    "network prune": "Remove networks that no container is on",
    "network reload": "Set the firewall rules of containers up anew",
    "network rm": "Remove networks",
    "network update": "Change the DNS servers of a network",
    "pod clone": "Make a pod like another one",
    "pod create": "Make a pod",
    "pod exists": "Check if a pod exists",
    "pod inspect": "Show the details of pods",
    "pod kill": "Send a signal to the containers of pods",
    "pod logs": "Show the logs of a pod's containers",
    "pod pause": "Pause all processes of pods",
    "pod prune": "Remove all pods of which nothing runs",
    "pod ps": "List pods",
    "pod restart": "Restart pods",
    "pod rm": "Remove pods",
    "pod start": "Start pods",
    "pod stats": "Show what pods use of the host",
    "pod stop": "Stop pods",
    "pod top": "Show the processes of a pod",
    "pod unpause": "Let paused pods go on",
    "secret create": "Keep a secret",
    "secret exists": "Check if a secret exists",
    "secret inspect": "Show the details of secrets",
    "secret ls": "List secrets",
    "secret rm": "Remove secrets",
    "volume create": "Make a volume",
    "volume exists": "Check if a volume exists",
    "volume export": "Write a volume's content as a tar",
    "volume import": "Unpack a tar into a volume",
    "volume inspect": "Show the details of volumes",
    "volume ls": "List volumes",
    "volume mount": "Mount a volume",
    "volume prune": "Remove volumes that no container has",
    "volume reload": "Ask volume plugins which volumes they have",
    "volume rm": "Remove volumes",
    "volume unmount": "Unmount a volume",
}
for _name, _summary in _OBJECTS.items():
    COMMANDS[_name] = (f"{_name.partition(' ')[0]}s", _name.partition(" ")[2].upper(), _summary)
COMMANDS["healthcheck run"] = ("upkeep", "HEALTHCHECK", "Run a container's health check once")
COMMANDS["container cleanup"] = ("lifecycle", "CLEANUP", "Release what ended containers hold")
COMMANDS["image inspect"] = ("inspect", "IMAGE_INSPECT", "Show the details of images")
COMMANDS["image exists"] = ("images", "EXISTS", "Check if an image exists in local storage")
COMMANDS["container diff"] = ("images", "CONTAINER_DIFF", "Show what a container changes of its image")
COMMANDS["image diff"] = ("images", "IMAGE_DIFF", "Show what an image's last layer changes")
COMMANDS["image mount"] = ("images", "MOUNT", "Mount the file systems of images")
COMMANDS["image prune"] = ("images", "PRUNE", "Remove images that nobody uses")
COMMANDS["image scp"] = ("registries", "SCP", "Copy an image to or from another host or user")
COMMANDS["image sign"] = ("registries", "SIGN", "Sign images that a registry holds")
COMMANDS["image tree"] = ("images", "TREE", "Show the layers of an image")
COMMANDS["image trust set"] = ("registries", "TRUST_SET", "Change the signature policy")
COMMANDS["image trust show"] = ("registries", "TRUST_SHOW", "Show the signature policy")
COMMANDS["image unmount"] = ("images", "UNMOUNT", "Unmount the file systems of images")
COMMANDS["manifest add"] = ("lists", "ADD", "Add images to a manifest list")
COMMANDS["manifest annotate"] = ("lists", "ANNOTATE", "Change what a manifest list says of an image")
COMMANDS["manifest create"] = ("lists", "CREATE", "Make a manifest list")
COMMANDS["manifest exists"] = ("lists", "EXISTS", "Check if a manifest list exists in local storage")
COMMANDS["manifest inspect"] = ("lists", "INSPECT", "Show a manifest list")
COMMANDS["manifest push"] = ("lists", "PUSH", "Send a manifest list and its images")
COMMANDS["manifest remove"] = ("lists", "REMOVE_ENTRY", "Take an image out of a manifest list")
COMMANDS["manifest rm"] = ("lists", "REMOVE", "Remove manifest lists")
COMMANDS["artifact add"] = ("lists", "ARTIFACT_ADD", "Make an artifact of files")
COMMANDS["artifact extract"] = ("lists", "ARTIFACT_EXTRACT", "Write an artifact's files to a folder")
COMMANDS["artifact inspect"] = ("lists", "ARTIFACT_INSPECT", "Show an artifact's manifest")
COMMANDS["artifact ls"] = ("lists", "ARTIFACT_LS", "List artifacts")
COMMANDS["artifact pull"] = ("lists", "ARTIFACT_PULL", "Fetch an artifact from a registry")
COMMANDS["artifact push"] = ("lists", "ARTIFACT_PUSH", "Send an artifact to a registry")
COMMANDS["artifact rm"] = ("lists", "ARTIFACT_RM", "Remove artifacts")
COMMANDS["image list"] = COMMANDS["images"]
COMMANDS["image rm"] = COMMANDS["rmi"]
COMMANDS["system df"] = ("space", "DF", "Show how much space is used")
COMMANDS["system prune"] = ("space", "PRUNE", "Remove what nobody uses")
COMMANDS["system connection add"] = ("connections", "ADD", "Keep a service under a name")
COMMANDS["system connection default"] = ("connections", "DEFAULT", "Choose the service that is used")
COMMANDS["system connection list"] = ("connections", "LIST", "List the services that have names")
COMMANDS["system connection remove"] = ("connections", "REMOVE", "Forget services")
COMMANDS["system connection rename"] = ("connections", "RENAME", "Give a service another name")
for _short, _long in (("ls", "list"), ("rm", "remove"), ("mv", "rename")):
    COMMANDS[f"system connection {_short}"] = COMMANDS[f"system connection {_long}"]
COMMANDS["system service"] = ("service", "SERVICE", "Serve the REST API")
COMMANDS["system dial-stdio"] = ("service", "DIAL_STDIO", "Join standard input and output to the service")
COMMANDS["system locks"] = ("care", "LOCKS", "Show which objects are being worked on")
COMMANDS["system renumber"] = ("care", "RENUMBER", "Give every object a lock of its own")
COMMANDS["generate spec"] = ("generate", "SPEC", "Show what a container or a pod was made with")
COMMANDS["generate systemd"] = ("units", "SYSTEMD", "Show systemd units of a container or a pod")
COMMANDS["quadlet list"] = ("units", "LIST", "List Quadlet files")
COMMANDS["quadlet print"] = ("units", "PRINT", "Show a Quadlet file")
COMMANDS["buildx build"] = COMMANDS["build"]
COMMANDS["buildx prune"] = COMMANDS["image prune"]
COMMANDS["kube play"] = ("kube", "PLAY", "Make pods of Kubernetes' documents")
COMMANDS["kube down"] = ("kube", "DOWN", "Remove what kube play made")
COMMANDS["kube generate"] = ("kube", "GENERATE", "Show documents for Kubernetes of what is here")
COMMANDS["kube apply"] = ("kube", "APPLY", "Make what is here in a cluster")
COMMANDS["play kube"] = COMMANDS["kube play"]
COMMANDS["generate kube"] = COMMANDS["kube generate"]
COMMANDS["system check"] = ("care", "CHECK", "Check whether database and files agree")
COMMANDS["system migrate"] = ("care", "MIGRATE", "Stop all containers, and let a user's namespace be made anew")
COMMANDS["system migrate-from"] = ("migrate_from", "MIGRATE_FROM", "Take over what Podman or Docker has")
COMMANDS["system reset"] = ("care", "RESET", "Remove everything")
COMMANDS["system events"] = COMMANDS["events"]
COMMANDS["system unshare"] = COMMANDS["unshare"]
COMMANDS["system info"] = COMMANDS["info"]

GROUPS = {
    "artifact": "Manage OCI artifacts",
    "buildx": "Docker's name for builds",
    "container": "Manage containers",
    "generate": "Generate documents of containers and pods",
    "healthcheck": "Check the health of containers",
    "image": "Manage images",
    "image trust": "Manage the signature policy",
    "kube": "Pods of Kubernetes' documents, and documents of pods",
    "manifest": "Manage manifest lists",
    "network": "Manage networks",
    "play": "Make pods of documents",
    "pod": "Manage pods",
    "quadlet": "Look at Quadlet files",
    "secret": "Manage secrets",
    "system": "Manage the engine",
    "system connection": "Manage services that have names",
    "volume": "Manage volumes",
}
ALIASES = {
    "artifact list": "artifact ls",
    "artifact remove": "artifact rm",
    "container list": "container ps",
    "container ls": "container ps",
    "container umount": "container unmount",
    "network list": "network ls",
    "network remove": "network rm",
    "pod list": "pod ps",
    "quadlet cat": "quadlet print",
    "pod ls": "pod ps",
    "secret list": "secret ls",
    "secret remove": "secret rm",
    "umount": "unmount",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "image ls": "image list",
    "image remove": "image rm",
    "image umount": "image unmount",
    "list": "ps",
    "ls": "ps",
}


def check_globals(options: Args) -> None:
    """What the engine's own flags say must make sense."""
    if options.debug:
        options.__dict__["log_level"] = "debug"
    given = options.__dict__
    if options.host and not options.url:
        given["url"] = options.host
    if options.context not in ("", "default") and not options.connection:
        given["connection"] = options.context
    for name, variable in (("config", "DOCKER_CONFIG"), ("registries_conf", "CONTAINERS_REGISTRIES_CONF")):
        if given[name]:
            os.environ[variable] = given[name]
    if options.db_backend not in ("", "sqlite"):
        raise UsageError(f"--db-backend {options.db_backend!r}: the database is sqlite", hint="leave it out")
    if options.ssh not in ("native", "golang"):
        raise UsageError(f"--ssh {options.ssh!r}: not one of native, golang")
    if options.log_level not in LOG_LEVELS:
        raise UsageError(
            f"log level {options.log_level!r} is not supported", hint=f"the levels are {', '.join(LOG_LEVELS)}"
        )


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """(path of the command or group, the words after it). An unknown command stays the first of those words."""
    if not words:
        return "", []
    if words[0] == "builder":
        words = ["buildx", *words[1:]]
    if words[0] == "help":
        path, _ = resolve(words[1:])
        return path, ["--help"]
    if words[0] in GROUPS:
        for length in (3, 2):
            path = " ".join(words[:length])
            path = ALIASES.get(path, path)
            if len(words) >= length and path in COMMANDS:
                return path, words[length:]
        group = " ".join(words[:2])
        return (group, words[2:]) if group in GROUPS else (words[0], words[1:])
    path = ALIASES.get(words[0], words[0])
    return (path, words[1:]) if path in COMMANDS else ("", words)


def load(path: str) -> Command:
    """Import the command's module."""
    module, name, _ = COMMANDS[path]
    command: Command = getattr(__import__(f"podling.cli.commands.{module}", fromlist=[name]), name)
    return command
