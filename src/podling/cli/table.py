"""The commands as data: path, module and name of the `Command`, summary. Help reads this and imports no command."""

from __future__ import annotations

from podling.cli.flags import Args, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.command import Command

GLOBAL_FLAGS = (
    Flag("cgroup-manager", "", "string", 'Cgroup manager to use ("cgroupfs"|"systemd")'),
    Flag("conmon", "", "string", "Path of the conmon binary", value="path"),
    Flag("help", "h", "bool", "Show this help"),
    Flag(
        "log-level",
        "",
        "string",
        "Log messages at and above this level (trace, debug, info, warn, error, fatal, panic)",
        "warn",
    ),
    Flag("root", "", "string", "Path to the folder that holds images, containers and the database", value="path"),
    Flag("runroot", "", "string", "Path to the folder that holds runtime state, void after a reboot", value="path"),
    Flag("runtime", "", "string", "OCI runtime to run containers with: a name, or a path", "crun"),
    Flag("runtime-flag", "", "list", "Add a global flag for the OCI runtime"),
    Flag("storage-driver", "", "string", 'Storage driver ("overlay"|"vfs")'),
    Flag("storage-opt", "", "list", "Option of the storage driver, such as overlay.mount_program=PATH"),
    Flag("tmpdir", "", "string", "Path to the folder for exit files and sockets", value="path"),
    Flag("version", "v", "bool", "Show the version"),
)
LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

#: path: (module below podling.cli.commands, name in it, summary)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "attach": ("run", "ATTACH", "Attach to a running container"),
    "create": ("run", "CREATE", "Create but do not start a container"),
    "events": ("system", "EVENTS", "Show what happens in the engine"),
    "exec": ("exec", "EXEC", "Run a process in a running container"),
    "history": ("images", "HISTORY", "Show the steps that made an image"),
    "images": ("images", "IMAGES", "List images in local storage"),
    "import": ("archives", "IMPORT", "Make an image of a root file system in a tar"),
    "info": ("system", "INFO", "Show information about host and store"),
    "inspect": ("inspect", "INSPECT", "Show the details of containers and images"),
    "kill": ("lifecycle", "KILL", "Send a signal to running containers"),
    "load": ("archives", "LOAD", "Load images from an archive"),
    "logs": ("logs", "LOGS", "Show the logs of containers"),
    "pause": ("lifecycle", "PAUSE", "Pause all processes in containers"),
    "port": ("containers", "PORT", "List port mappings of a container"),
    "ps": ("ps", "PS", "List containers"),
    "pull": ("images", "PULL", "Fetch an image from a registry"),
    "rename": ("containers", "RENAME", "Rename a container"),
    "restart": ("lifecycle", "RESTART", "Restart containers"),
    "rm": ("lifecycle", "RM", "Remove containers"),
    "rmi": ("images", "RMI", "Remove images from local storage"),
    "run": ("run", "RUN", "Run a command in a new container"),
    "save": ("archives", "SAVE", "Save images to an archive"),
    "start": ("lifecycle", "START", "Start containers"),
    "stop": ("lifecycle", "STOP", "Stop containers"),
    "tag": ("images", "TAG", "Give an image further names"),
    "top": ("containers", "TOP", "Show the processes of a container"),
    "unpause": ("lifecycle", "UNPAUSE", "Let paused containers go on"),
    "untag": ("images", "UNTAG", "Take names away from an image"),
    "version": ("system", "VERSION", "Show version information"),
    "wait": ("lifecycle", "WAIT", "Wait for containers to stop"),
}
_CONTAINER = (
    "attach create exec inspect kill logs pause port ps rename restart rm run start stop top unpause wait"
).split()
for _name in _CONTAINER:
    COMMANDS[f"container {_name}"] = COMMANDS[_name]
for _name in ("history", "import", "load", "pull", "save", "tag", "untag", "inspect"):
    COMMANDS[f"image {_name}"] = COMMANDS[_name]
COMMANDS["container inspect"] = ("inspect", "CONTAINER_INSPECT", "Show the details of containers")
COMMANDS["container exists"] = ("containers", "EXISTS", "Check if a container exists")
COMMANDS["container cleanup"] = ("lifecycle", "CLEANUP", "Release what ended containers hold")
COMMANDS["image inspect"] = ("inspect", "IMAGE_INSPECT", "Show the details of images")
COMMANDS["image exists"] = ("images", "EXISTS", "Check if an image exists in local storage")
COMMANDS["image list"] = COMMANDS["images"]
COMMANDS["image rm"] = COMMANDS["rmi"]
COMMANDS["system events"] = COMMANDS["events"]
COMMANDS["system info"] = COMMANDS["info"]

GROUPS = {
    "container": "Manage containers",
    "image": "Manage images",
    "system": "Manage the engine",
}
ALIASES = {
    "container list": "container ps",
    "container ls": "container ps",
    "image ls": "image list",
    "image remove": "image rm",
    "list": "ps",
    "ls": "ps",
}


def check_globals(options: Args) -> None:
    if options.log_level not in LOG_LEVELS:
        raise UsageError(
            f"log level {options.log_level!r} is not supported", hint=f"the levels are {', '.join(LOG_LEVELS)}"
        )


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """(path of the command or group, the words after it). An unknown command stays the first of those words."""
    if not words:
        return "", []
    if words[0] == "help":
        path, _ = resolve(words[1:])
        return path, ["--help"]
    if words[0] in GROUPS:
        path = f"{words[0]} {words[1]}" if len(words) > 1 else ""
        path = ALIASES.get(path, path)
        return (path, words[2:]) if path in COMMANDS else (words[0], words[1:])
    path = ALIASES.get(words[0], words[0])
    return (path, words[1:]) if path in COMMANDS else ("", words)


def load(path: str) -> Command:
    """Import the command's module."""
    module, name, _ = COMMANDS[path]
    command: Command = getattr(__import__(f"podling.cli.commands.{module}", fromlist=[name]), name)
    return command
