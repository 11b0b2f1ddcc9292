"""The structs behind `--format`, as Go templates see them.

A document holds what is set; a template may ask for every field of the struct, and gets an empty value for what is not. So the
structs are listed here: `NAME` is a string, `NAME:KIND` something else, `NAME{…}` a struct, `NAME[]{…}` a list and `NAME{}{…}` a map
of them, `NAME*{…}` one that may be nil, `NAME@` one whose fields are those of the struct that it is in. Where the document has another
name for a field than Go has, but for case and underscores, it is `NAME=KEY`. Kinds: i integer, f float, b bool, l list, m map, t time,
d duration, p nil when not set.
"""

from __future__ import annotations

import re

from podling.cli.template import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOUNT = "Destination Driver Mode Name Options:l Propagation RW:b Source SubPath Type"
_HEALTH = "Interval:d Retries:i StartInterval:d StartPeriod:d Test:l Timeout:d"
_RATE = "Path Rate:i"
_PORTS = "HostIp HostPort"
_ADDRESSES = "SecondaryIPAddresses[]{ Addr PrefixLength:i } SecondaryIPv6Addresses[]{ Addr PrefixLength:i }"
_PLACE = f"""EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen:i IPAddress IPPrefixLen:i IPv6Gateway MacAddress {_ADDRESSES}"""
_LIMITS = "Memory:i MemoryReservation:i MemorySwap:i MemorySwappiness:i NanoCpus:i KernelMemory:i OomKillDisable:b PidsLimit:i"

_CONTAINER = f"""
ID Created:t Path Args:l State*{{ OciVersion Status Running:b Paused:b Restarting:b OOMKilled:b Dead:b Pid:i ConmonPid:i ExitCode:i Error
  StartedAt:t FinishedAt:t Health*{{ Status FailingStreak:i Log[]{{ Start End ExitCode:i Output }} }}
  Healthcheck=Health*{{ Status FailingStreak:i Log[]{{ Start End ExitCode:i Output }} }} Checkpointed:b CgroupPath CheckpointedAt:t
  RestoredAt:t
  CheckpointLog CheckpointPath RestoreLog Restored:b StoppedByUser:b }}
Image ImageDigest ImageName Rootfs Pod ResolvConfPath HostnamePath HostsPath StaticDir OCIConfigPath OCIRuntime ConmonPidFile PidFile Name
RestartCount:i Driver MountLabel ProcessLabel AppArmorProfile EffectiveCaps:l BoundingCaps:l ExecIDs:l GraphDriver*{{ Name Data:m }}
SizeRw:p SizeRootFs:i Mounts[]{{ {_MOUNT} }} Dependencies:l
NetworkSettings*{{ {_PLACE} AdditionalMacAddresses:l Bridge SandboxID SandboxKey HairpinMode:b LinkLocalIPv6Address LinkLocalIPv6PrefixLen:i
  Ports{{}}[]{{ {_PORTS} }} Networks{{}}{{ {_PLACE} AdditionalMACAddresses:l NetworkID DriverOpts:m IPAMConfig:m Links:l Aliases:l }}
  InspectBasicNetworkConfig@ }}
Namespace IsInfra:b IsService:b KubeExitCodePropagation LockNumber:i UseImageHostname:b UseImageHosts:b
Config*{{ Hostname DomainName User AttachStdin:b AttachStdout:b AttachStderr:b Tty:b OpenStdin:b StdinOnce:b Env:l Cmd:l Image Volumes:m
  WorkingDir Entrypoint:l OnBuild:p Labels:m Annotations:m StopSignal Healthcheck*{{ {_HEALTH} }} HealthcheckOnFailureAction
  HealthLogDestination HealthMaxLogCount=HealthcheckMaxLogCount:i HealthMaxLogSize=HealthcheckMaxLogSize:i CreateCommand:l Umask Timeout:i
  StopTimeout:i Timezone SystemdMode:b Passwd:p ExposedPorts:m ChrootDirs:l SdNotifyMode SdNotifySocket V4PodmanCompatMarshal:b
  Secrets[]{{ Name ID UID:i GID:i Mode:i }} StartupHealthCheck*{{ {_HEALTH} Successes:i Schema2HealthConfig@ }} }}
HostConfig*{{ {_LIMITS} Annotations:m AutoRemove:b AutoRemoveImage:b Binds:l BlkioDeviceReadBps[]{{ {_RATE} }}
  BlkioDeviceReadIOps[]{{ {_RATE} }} BlkioDeviceWriteBps[]{{ {_RATE} }} BlkioDeviceWriteIOps[]{{ {_RATE} }} BlkioWeight:i
  BlkioWeightDevice[]{{ Path Weight:i }} CapAdd:l CapDrop:l Cgroup CgroupConf:m CgroupManager CgroupMode CgroupParent Cgroups ConsoleSize:l
  ContainerIDFile CpuCount:i CpuPercent:i CpuPeriod:i CpuQuota:i CpuRealtimePeriod:i CpuRealtimeRuntime:i CpuShares:i CpusetCpus CpusetMems
  Devices[]{{ PathOnHost PathInContainer CgroupPermissions }} DiskQuota:i Dns:l DnsOptions:l DnsSearch:l ExtraHosts:l GroupAdd:l HostsFile
  IDMappings*{{ GIDMap:l UIDMap:l }} IOMaximumBandwidth:i IOMaximumIOps:i Init:b IntelRdtClosID IpcMode Isolation Links:l
  LogConfig*{{ Type Config:m Path Tag Size }} NetworkMode OomScoreAdj:i PidMode PortBindings{{}}[]{{ {_PORTS} }} Privileged:b
  PublishAllPorts:b
  ReadonlyRootfs:b RestartPolicy*{{ Name MaximumRetryCount:i }} Runtime SecurityOpt:l ShmSize:i Tmpfs:m UTSMode Ulimits[]{{ Name Soft:i
  Hard:i }}
  UsernsMode VolumeDriver VolumesFrom:l }}
"""
_POD = f"""
ID Name Namespace Created:t CreateCommand:l ExitPolicy State Hostname Labels:m CreateCgroup:b CgroupParent CgroupPath CreateInfra:b
InfraContainerID SharedNamespaces:l NumContainers:i RestartPolicy LockNumber:i Containers[]{{ Id Name State }} BlkioWeight:i CPUPeriod:i
CPUQuota:i CPUShares:i CPUSetCPUs CPUSetMems MemoryLimit:i MemorySwap:i BlkioWeightDevice[]{{ Path Weight:i }}
BlkioDeviceReadBps=device_read_bps[]{{ {_RATE} }} BlkioDeviceWriteBps=device_write_bps[]{{ {_RATE} }}
Devices[]{{ PathOnHost PathInContainer CgroupPermissions }} Mounts[]{{ {_MOUNT} }} SecurityOpts=security_opt:l VolumesFrom:l
InfraConfig*{{ PortBindings{{}}[]{{ {_PORTS} }} HostNetwork:b StaticIP StaticMAC NoManageResolvConf:b DNSServer:l DNSSearch:l DNSOption:l
  NoManageHosts:b HostAdd:l HostsFile NoManageHostname:b Networks:l NetworkOptions:m CPUPeriod:i CPUQuota:i CPUSetCPUs PidNS UserNS UtsNS }}
InspectPodData@
"""
_IMAGE = f"""
ID Digest RepoTags:l RepoDigests:l Parent Comment Created:t Config*{{ User ExposedPorts:m Env:l Entrypoint:l Cmd:l Volumes:m WorkingDir
  Labels:m StopSignal ArgsEscaped:b }}
Version Author Architecture Os Size:i VirtualSize:i GraphDriver*{{ Name Data:m }} RootFS*{{ Type Layers:l }} Labels:m Annotations:m
  ManifestType
User History[]{{ Created:t CreatedBy Author Comment EmptyLayer:b }} NamesHistory:l HealthCheck*{{ {_HEALTH} }}
"""
_VERSION = "APIVersion BuildOrigin Built:i BuiltTime GitCommit GoVersion Os OsArch Version"
_VERSIONS = f"Client*{{ {_VERSION} }} Server*{{ {_VERSION} }}"
_PROGRAM = "Package Path Version"
_HELPER = "Executable Package Version"
_IDS = "ContainerId:i HostId:i Size:i"
_INFO = f"""
Client*{{ {_VERSION} }} Host*{{ Arch BuildahVersion CgroupControllers:l CgroupManager CgroupsVersion=cgroupVersion Conmon*{{ {_PROGRAM} }}
  CPUUtilization*{{ IdlePercent:f SystemPercent:f UserPercent:f }} CPUs:i DatabaseBackend
  Distribution{{ Codename Distribution Variant Version }} EmulatedArchitectures:l EventLogger FreeLocks:p Hostname
  IDMappings{{ GIDMap[]{{ {_IDS} }} UIDMap[]{{ {_IDS} }} }} Kernel Linkmode LogDriver MemFree:i MemTotal:i NetworkBackend
  NetworkBackendInfo{{ Backend {_PROGRAM} DNS{{ {_PROGRAM} }} }} OCIRuntime*{{ Name {_PROGRAM} }} OS Pasta{{ {_HELPER} }}
  RemoteSocket*{{ Exists:b Path }} RootlessNetworkCmd RuntimeInfo:m Security{{ AppArmorEnabled:b DefaultCapabilities=capabilities Rootless:b
  SECCOMPEnabled:b SECCOMPProfilePath SELinuxEnabled:b }} ServiceIsRemote:b Slirp4NetNS{{ {_HELPER} }} SwapFree:i SwapTotal:i Uptime
  Variant }}
Plugins{{ Authorization:l Log:l Network:l Volume:l }} Registries:m
Store*{{ ConfigFile ContainerStore{{ Number:i Paused:i Running:i Stopped:i }} GraphDriverName GraphOptions:m GraphRoot GraphRootAllocated:i
  GraphRootUsed:i GraphStatus:m ImageCopyTmpDir ImageStore{{ Number:i }} RunRoot TransientStore:b VolumePath }}
Version{{ {_VERSION} }}
"""
_NETWORK = """
Name ID Driver NetworkInterface Created:t Subnets[]{ Subnet Gateway LeaseRange*{ StartIP EndIP } } Routes[]{ Destination Gateway Metric:p }
IPv6Enabled:b Internal:b DNSEnabled:b NetworkDNSServers:l Labels:m Options:m IPAMOptions:m
Containers{}{ Name Interfaces{}{ MacAddress Subnets[]{ IPNet=ipnet Gateway } } } Network@
"""
_VOLUME = """
Name Driver Mountpoint CreatedAt:t Status:m Labels:m Scope Options:m UID:i GID:i Anonymous:b MountCount:i NeedsCopyUp:b NeedsChown:b
  Timeout:i
StorageID LockNumber:i InspectVolumeData@ VolumeConfigResponse@
"""
_SECRET = "ID CreatedAt:t UpdatedAt:t Spec{ Name Driver{ Name Options:m } Labels:m } SecretData"
_BLOB = """
MediaType Digest Size:i URLs:l Annotations:m Data ArtifactType Platform*{ Architecture OS OSVersion=os.version OSFeatures=os.features:l
  Variant }
"""
_ARTIFACT = f"""
Name Digest TotalSizeBytes:i Artifact@ Manifest*{{ SchemaVersion:i MediaType ArtifactType Config{{ {_BLOB} }} Layers[]{{ {_BLOB} }}
  Subject*{{ {_BLOB} }} Annotations:m Manifest@ Versioned@ }}
"""
_HISTORY = "ID Created:t CreatedBy Size:i Comment Tags:l ImageHistoryLayer@"
_IMAGES = """
ID ParentId RepoTags:l RepoDigests:l Created:i Size:i SharedSize:i VirtualSize:i Labels:m Containers:i ReadOnly:b Dangling:b Arch Digest
History:l IsManifestList:b Names:l Os
"""
_PS = """
AutoRemove:b Command:l Created:t CreatedAt CIDFile Exited:b ExitedAt:i ExitCode:i ExposedPorts:m ID Image ImageID IsInfra:b Labels:m
  Mounts:l
Names:l Namespaces{ Cgroup IPC MNT NET PIDNS User UTS } Networks:l Pid:i Pod PodName Ports[]{ HostIP ContainerPort:i HostPort:i Range:i
  Protocol } Restarts:i Size*{ RootFsSize:i RwSize:i } StartedAt:i State Status CGROUPNS IPC MNT NET PIDNS USERNS UTS
"""
_PODS = """
Cgroup Containers[]{ Id Names Status RestartCount:i } Created:t Id InfraId Name Namespace Networks:l Status Labels:m
"""
_STATS = """
AvgCPU:f ContainerID Name PerCPU:l CPU:f CPUNano:i CPUSystemNano:i SystemNano:i MemUsage:i MemLimit:i MemPerc:f Network:m BlockInput:i
BlockOutput:i PIDs:i UpTime:d Duration:i
"""
_CONNECTION = "TLSCA TLSCert TLSKey IsMachine:b Destination@"

#: by the names that `view` takes
SHAPES = {
    "container": _CONTAINER, "pod": _POD, "image": _IMAGE, "version": _VERSIONS, "info": _INFO, "network": _NETWORK, "volume": _VOLUME,
    "secret": _SECRET, "artifact": _ARTIFACT, "history": _HISTORY, "image row": _IMAGES, "container row": _PS, "pod row": _PODS,
    "stats row": _STATS, "connection": _CONNECTION,
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<name>\w+)(?:=(?P<key>[\w.]+?))?(?P<marks>(?:\[\]|\{\})*\*?)(?:(?P<open>\{(?!\}))|:(?P<kind>[a-z])|(?P<self>@))?(?=\s|$)"
    r"|(?P<close>\})"
)


class _Field:
    """`marks` says what a struct is in: lists and maps, and whether it may be nil."""

    __slots__ = ("inner", "key", "kind", "marks", "name")

    def __init__(self, name: str, key: str, kind: str, marks: str, inner: _Struct | None) -> None:
        self.name, self.key, self.kind, self.marks, self.inner = name, key, kind, marks, inner


class _Struct:
    def __init__(self) -> None:
        self.fields: list[_Field] = []
        self.embedded: list[str] = []


def _read(text: str) -> _Struct:
    stack = [_Struct()]
    for match in _TOKEN.finditer(text):
        if match["close"]:
            stack.pop()
        elif match["self"]:
            stack[-1].embedded.append(match["name"])
        else:
            inner = _Struct() if match["open"] else None
            stack[-1].fields.append(
                _Field(match["name"], match["key"] or "", match["kind"] or "", match["marks"], inner)
            )
            if inner:
                stack.append(inner)
    return stack[0]


_known: dict[str, _Struct] = {}


def view(document: dict[str, Any], shape: str) -> Fields:
    """A document as the struct of `SHAPES` that `shape` names."""
    if shape not in _known:
        _known[shape] = _read(SHAPES[shape])
    return _fields(document, _known[shape])


def _fields(document: dict[str, Any], struct: _Struct) -> Fields:
    made = Fields()
    made.embedded = tuple(struct.embedded)
    keys = {_plain(key): key for key in document}
    made.document, made.aliases = document, {}
    for field in struct.fields:
        key = field.key or field.name
        if key not in document:
            key = keys.get(_plain(key), key)
        made.aliases.setdefault(key, field.name)
        made[field.name] = _value(document.get(key), field, field.marks)
    for key, value in document.items():
        if key not in made.aliases:
            made[key] = value
    return made


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _value(value: Any, field: _Field, marks: str) -> Any:
    if marks.startswith("[]"):
        return [_value(item, field, marks[2:]) for item in value or ()]
    if marks.startswith("{}"):
        return {key: _value(item, field, marks[2:]) for key, item in (value or {}).items()}
    if field.inner:
        if value is None and marks == "*":
            return None
        return _fields(value or {}, field.inner)
    if field.kind in ("t", "d"):
        from podling.cli.gotime import Duration, Time

        if not isinstance(value, Time | Duration):
            return Time.parse(value or "") if field.kind == "t" else Duration(value or 0)
    if value is None and field.kind != "p":
        return {"i": 0, "f": 0.0, "b": False, "l": [], "m": {}}.get(field.kind, "")
    return value
