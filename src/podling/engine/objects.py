"""The library's faces for pods, volumes, networks and secrets: `engine.pods`, `engine.volumes`, `engine.networks`, `engine.secrets`."""

from __future__ import annotations

from podling.core.options import CreateOptions, PodOptions
from podling.core.store_options import SecretOptions, VolumeOptions
from podling.engine.catalogue import networks as network_ops
from podling.engine.catalogue import pods as pod_ops
from podling.engine.catalogue import storage as ops
from podling.engine.containers import raise_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from typing import Any

    from podling.core.pod_details import PodSummary
    from podling.core.secrets import Secret
    from podling.core.volumes import Volume as VolumeRow
    from podling.engine.features import Played, TakenDown
    from podling.engine.local import Engine


def _pairs(values: Mapping[str, str] | None) -> list[str]:
    return [f"{key}={value}" for key, value in (values or {}).items()]


# -- pods
class Pod:
    """A pod of the engine; its state is asked anew each time. As a context manager it is removed at the end, with what is in it."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id = id

    def __repr__(self) -> str:
        return f"<Pod {self.id[:12]}>"

    def inspect(self) -> dict[str, Any]:
        """Everything about it, in the shape of `podman pod inspect`."""
        document: dict[str, Any] = self._engine.call(pod_ops.InspectPod(name=self.id))
        return document

    @property
    def name(self) -> str:
        return str(self.inspect()["Name"])

    @property
    def status(self) -> str:
        """Created, Running, Degraded, Paused, Stopped or Exited."""
        return str(self.inspect()["State"])

    def start(self) -> None:
        raise_first(self._engine.call(pod_ops.StartPods(names=[self.id])))

    def stop(self, timeout: int = -1) -> None:
        """Stop its containers; `timeout` in seconds, -1 for their own settings."""
        raise_first(self._engine.call(pod_ops.StopPods(names=[self.id], timeout=timeout)))

    def restart(self) -> None:
        raise_first(self._engine.call(pod_ops.RestartPods(names=[self.id])))

    def kill(self, signal: str = "KILL") -> None:
        raise_first(self._engine.call(pod_ops.KillPods(names=[self.id], signal=signal)))

    def pause(self) -> None:
        raise_first(self._engine.call(pod_ops.PausePods(names=[self.id])))

    def unpause(self) -> None:
        raise_first(self._engine.call(pod_ops.UnpausePods(names=[self.id])))

    def top(self, descriptors: Sequence[str] = ()) -> list[list[str]]:
        rows: list[list[str]] = self._engine.call(pod_ops.PodTop(name=self.id, descriptors=[*descriptors]))
        return rows

    def remove(self, *, force: bool = False) -> None:
        """Remove it and its containers, with `force` even while they run."""
        raise_first(self._engine.call(pod_ops.RemovePods(names=[self.id], force=force, timeout=0 if force else -1)))

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.remove(force=True)


class Pods:
    """Making and finding pods."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, name: str = "", *, publish: Sequence[str] = (), network: Sequence[str] = (), labels: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Pod:  # fmt: skip
        """Make a pod. `options` are further fields of `PodOptions`: share, exit_policy, restart, infra, …

        Raises:
            NameInUse, InvalidInput.
        """
        infra = CreateOptions(image="", publish=[*publish], network=[*network])
        wanted = PodOptions(infra_options=infra, name=name, labels=_pairs(labels), **options)
        return Pod(self._engine, self._engine.call(pod_ops.CreatePod(options=wanted)))

    def get(self, name: str) -> Pod:
        """The pod that a name, an id or a unique prefix of one means; NoSuchPod when there is none."""
        return Pod(self._engine, self._engine.call(pod_ops.InspectPod(name=name))["Id"])

    def list(self, *, filters: Sequence[str] = ()) -> list[PodSummary]:
        found: list[PodSummary] = self._engine.call(pod_ops.ListPods(filters=[*filters]))
        return found

    def play(self, text: str, **options: Any) -> Played:
        """Make pods, volumes and secrets of Kubernetes' documents. `options` are fields of `features.PlayOptions`: replace, networks,
        config_maps, start, …

        Raises:
            InvalidInput: a document is wrong. NameInUse, NoSuchImage, RegistryError.
        """
        from podling.engine.catalogue.kube import PlayKube
        from podling.engine.features import PlayOptions

        made: Played = self._engine.call(PlayKube(options=PlayOptions(text=text, **options)))
        return made

    def take_down(self, text: str, *, force: bool = False) -> TakenDown:
        """Remove what `play` made of documents; with `force` the volumes of claims too."""
        from podling.engine.catalogue.kube import DownKube

        report: TakenDown = self._engine.call(DownKube(text=text, force=force))
        return report

    def documents(self, names: Sequence[str], **options: Any) -> str:
        """Kubernetes' documents of pods, containers and volumes, as YAML. `options`: kind, service, replicas."""
        from podling.engine.catalogue.kube import GenerateKube

        text: str = self._engine.call(GenerateKube(names=[*names], **options))
        return text

    def exists(self, name: str) -> bool:
        return bool(self._engine.call(pod_ops.PodExists(name=name)))

    def prune(self) -> builtins.list[str]:
        """Remove pods of which nothing runs; their ids."""
        report = self._engine.call(pod_ops.PrunePods())
        raise_first(report)
        return [str(id) for id in report.done]


# -- volumes
class Volume:
    """A volume of the engine. As a context manager it is removed at the end."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def __repr__(self) -> str:
        return f"<Volume {self.name}>"

    def inspect(self) -> VolumeRow:
        found: VolumeRow = self._engine.call(ops.InspectVolume(name=self.name))
        return found

    @property
    def path(self) -> str:
        """Where its files are, on the engine's host."""
        return self.inspect().path

    def remove(self, *, force: bool = False) -> None:
        """Remove it, with `force` together with the containers that have it."""
        raise_first(self._engine.call(ops.RemoveVolumes(names=[self.name], force=force, timeout=0 if force else -1)))

    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.remove(force=True)


class Volumes:
    """Making and finding volumes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Volume:
        """Make a volume; a name is made up where none is given. `more` are fields of `VolumeOptions`: driver, uid, gid, ignore.

        Raises:
            NameInUse, InvalidInput.
        """
        wanted = VolumeOptions(labels=_pairs(labels), options=_pairs(options), **more)
        row: VolumeRow = self._engine.call(ops.CreateVolume(name=name, options=wanted))
        return Volume(self._engine, row.name)

    def get(self, name: str) -> Volume:
        row: VolumeRow = self._engine.call(ops.InspectVolume(name=name))
        return Volume(self._engine, row.name)

    def list(self, *, filters: Sequence[str] = ()) -> list[VolumeRow]:
        found: list[VolumeRow] = self._engine.call(ops.ListVolumes(filters=[*filters]))
        return found

    def prune(self, *, filters: Sequence[str] = ()) -> builtins.list[str]:
        """Remove the volumes that no container has; their names."""
        names: builtins.list[str]
        names, _ = self._engine.call(ops.PruneVolumes(filters=[*filters]))
        return names


# -- networks
class Network:
    """A network of the engine. As a context manager it is removed at the end."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def __repr__(self) -> str:
        return f"<Network {self.name}>"

    def inspect(self) -> dict[str, Any]:
        """Its configuration in the shape of Podman's file, and the containers on it."""
        document: dict[str, Any] = self._engine.call(network_ops.InspectNetwork(name=self.name))
        return document

    def connect(self, container: str, *, ips: Sequence[str] = (), mac: str = "", aliases: Sequence[str] = ()) -> None:
        self._engine.call(
            network_ops.ConnectNetwork(name=self.name, container=container, ips=[*ips], mac=mac, aliases=[*aliases])
        )

    def disconnect(self, container: str, *, force: bool = False) -> None:
        self._engine.call(network_ops.DisconnectNetwork(name=self.name, container=container, force=force))

    def remove(self, *, force: bool = False) -> None:
        """Remove it, with `force` together with the containers on it."""
        raise_first(
            self._engine.call(network_ops.RemoveNetworks(names=[self.name], force=force, timeout=0 if force else -1))
        )

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.remove(force=True)


class Networks:
    """Making and finding networks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str = "", *, labels: Mapping[str, str] | None = None, **options: Any) -> Network:
        """Make a network. `options` are fields of `catalogue.networks.CreateNetwork`: driver, subnets, gateways, internal, ipv6, …

        Raises:
            NameInUse, InvalidInput.
        """
        made = self._engine.call(network_ops.CreateNetwork(name=name, labels=_pairs(labels), **options))
        return Network(self._engine, str(made))

    def get(self, name: str) -> Network:
        document = self._engine.call(network_ops.InspectNetwork(name=name))
        return Network(self._engine, str(document["name"]))

    def list(self, *, filters: Sequence[str] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._engine.call(network_ops.ListNetworks(filters=[*filters]))
        return found

    def exists(self, name: str) -> bool:
        return bool(self._engine.call(network_ops.NetworkExists(name=name)))

    def prune(self, *, filters: Sequence[str] = ()) -> builtins.list[str]:
        """Remove the networks that no container is on; their names."""
        names: builtins.list[str] = self._engine.call(network_ops.PruneNetworks(filters=[*filters]))
        return names


# -- secrets
class Secrets:
    """Keeping secrets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, data: bytes, *, labels: Mapping[str, str] | None = None, **options: Any) -> str:
        """Keep a secret; its id. `options` are fields of `SecretOptions`: driver, replace, ignore."""
        wanted = SecretOptions(labels=_pairs(labels), **options)
        return str(self._engine.call(ops.CreateSecret(name=name, data=data, options=wanted)))

    def list(self, *, filters: Sequence[str] = ()) -> list[Secret]:
        found: list[Secret] = self._engine.call(ops.ListSecrets(filters=[*filters]))
        return found

    def reveal(self, name: str) -> bytes:
        """What it holds."""
        data: bytes
        _, data = self._engine.call(ops.InspectSecret(name=name, reveal=True))
        return data

    def remove(self, name: str) -> None:
        raise_first(self._engine.call(ops.RemoveSecrets(names=[name])))
