"""Documents to a cluster: its API server, as a kubeconfig file names it."""

from __future__ import annotations

import base64
import os
import tempfile

from podling.errors import PodlingError
from podling.kube.documents import KubeError, Node, parse
from podling.oci import json

_PATHS = {
    "Pod": "api/v1/namespaces/{}/pods", "Service": "api/v1/namespaces/{}/services", "Secret": "api/v1/namespaces/{}/secrets",
    "ConfigMap": "api/v1/namespaces/{}/configmaps", "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments", "DaemonSet": "apis/apps/v1/namespaces/{}/daemonsets",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
}  # fmt: skip


class ClusterError(PodlingError):
    """The cluster cannot be reached, or refuses."""

    reference = "kube-apply"


class _Cluster:
    """Where it is, and who we are there. `files` are those of certificates and keys."""

    def __init__(self, text: str, place: str, ca: str, folder: str) -> None:
        import yaml

        try:
            config = Node(yaml.safe_load(text), place)
        except yaml.YAMLError as error:
            raise KubeError(f"{place}: not YAML: {' '.join(str(error).split())}") from None
        self._base, self._folder = os.path.dirname(place), folder
        context = _named(config, "contexts", config.text("current-context")).node("context")
        cluster = _named(config, "clusters", context.text("cluster")).node("cluster")
        user = _named(config, "users", context.text("user")).node("user")
        self.server, self.namespace = cluster.text("server").rstrip("/"), context.text("namespace") or "default"
        if not self.server:
            raise cluster.error("server", "it is missing")
        self.ca = ca or self._file(cluster, "certificate-authority")
        self.certificate, self.key = self._file(user, "client-certificate"), self._file(user, "client-key")
        self.verified = not cluster.flag("insecure-skip-tls-verify")
        self.headers = {"Content-Type": "application/json"}
        token = user.text("token")
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        elif user.has("username"):
            pair = f"{user.text('username')}:{user.text('password')}"
            self.headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _file(self, node: Node, name: str) -> str:
        """The path of a file that is named, or whose content is in the configuration."""
        data = node.text(f"{name}-data")
        if not data:
            return os.path.join(self._base, node.text(name)) if node.text(name) else ""
        path = f"{self._folder}/{name}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(base64.b64decode(data))
        return path


def _named(config: Node, kind: str, name: str) -> Node:
    for node in config.nodes(kind):
        if node.text("name") == name:
            return node
    raise config.error(kind, f"there is none called {name!r}")


def apply(text: str, kubeconfig: str, *, namespace: str = "", ca: str = "") -> list[str]:
    """Make the documents in a cluster; what was made, as KIND NAME.

    Raises:
        KubeError: the configuration or a document is wrong. ClusterError: it cannot be reached, or refuses a document.
    """
    import urllib3

    path = os.path.abspath(os.path.expanduser(kubeconfig))
    try:
        with open(path) as file:
            config = file.read()
    except OSError as error:
        raise KubeError(
            f"--kubeconfig {kubeconfig}: {error.strerror}",
            hint="it is $KUBECONFIG, ~/.kube/config, or --kubeconfig FILE",
        ) from None
    done = []
    with tempfile.TemporaryDirectory(prefix="podling-kube-") as folder:
        cluster = _Cluster(config, path, ca, folder)
        pool = urllib3.PoolManager(
            ca_certs=cluster.ca or None, cert_file=cluster.certificate or None, key_file=cluster.key or None,
            cert_reqs="CERT_REQUIRED" if cluster.verified else "CERT_NONE", timeout=urllib3.Timeout(connect=15, read=60), retries=False,
        )  # fmt: skip
        for document in parse(text):
            url = f"{cluster.server}/{_PATHS[document.kind].format(namespace or document.metadata.text('namespace') or cluster.namespace)}"
            try:
                answer = pool.request("POST", url, body=json.dumps(document.value).encode(), headers=cluster.headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ClusterError(f"{cluster.server}: {error}") from None
            if answer.status >= 300:
                raise ClusterError(
                    f"{document.kind} {document.name}: the cluster answers {answer.status}: {_said(answer.data)}"
                )
            done.append(f"{document.kind} {document.name}")
    return done


def _said(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace")[:300]
