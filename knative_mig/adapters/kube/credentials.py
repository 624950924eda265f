"""As whom a client speaks: what the `kubernetes` library reads of a kubeconfig or a pod, and what needs no library.

Called by `client`. The library knows about a kubeconfig's many forms, tokens that the kubelet renews, helpers that are
asked for one. To import it takes longer than all else that a process of ours does at its start, so it is imported for
credentials that it is needed for: a plain server, with or without a token that stands there, is read here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from knative_mig.core.errors import BadInput
from knative_mig.core.events import shown

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_LARGEST: Final = 64 * 1024  # bytes of a kubeconfig that is read here


class CredentialsFailed(Exception):
    """A token could not be renewed."""


class Credentials(Protocol):
    @property
    def server(self) -> str: ...

    def pool_arguments(self) -> Mapping[str, Any]:
        """Of urllib3, for TLS."""

    def proxy(self) -> str | None: ...

    def authorization(self) -> str | None:
        """As of now. CredentialsFailed."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A server, and a token that never changes."""

    server: str
    token: str = ""

    def pool_arguments(self) -> Mapping[str, Any]:
        return {}

    def proxy(self) -> None:
        return None

    def authorization(self) -> str | None:
        return f"Bearer {self.token}" if self.token else None


@dataclass(frozen=True, slots=True)
class OfLibrary:
    config: "Configuration"

    @property
    def server(self) -> str:
        return str(self.config.host).rstrip("/")

    def pool_arguments(self) -> Mapping[str, Any]:
        config = self.config
        arguments: dict[str, Any] = {
            "cert_reqs": "CERT_REQUIRED" if config.verify_ssl else "CERT_NONE",
            "ca_certs": config.ssl_ca_cert,
            "cert_file": config.cert_file,
            "key_file": config.key_file,
        }
        if config.tls_server_name:
            arguments["server_hostname"] = config.tls_server_name
        return arguments

    def proxy(self) -> str | None:
        from kubernetes.client.rest import should_bypass_proxies  # noqa: PLC0415  see above, here and below

        proxy = self.config.proxy
        if proxy and should_bypass_proxies(self.server, self.config.no_proxy or ""):
            return None
        return proxy

    def authorization(self) -> str | None:
        """The library reads a token's file again every minute."""
        from kubernetes.config import ConfigException  # noqa: PLC0415

        try:
            setting = self.config.auth_settings().get("BearerToken")
        except ConfigException as error:
            raise CredentialsFailed(str(error)) from error
        if setting and setting["value"]:
            return str(setting["value"]).strip()
        if self.config.username:
            return str(self.config.get_basic_auth_token())
        return None


def in_cluster() -> Credentials:
    """BadInput where this is no pod."""
    from kubernetes.config import load_incluster_config  # noqa: PLC0415

    return OfLibrary(_loaded(load_incluster_config))


def of_kubeconfig(path: str | None, context: str | None) -> Credentials:
    """As kubectl would: `path` None takes $KUBECONFIG or ~/.kube/config. BadInput."""
    if path is not None and context is None and (plain := _plain(Path(path))) is not None:
        return plain
    from kubernetes.config import load_kube_config  # noqa: PLC0415

    def load(client_configuration: "Configuration") -> None:
        load_kube_config(path, context, client_configuration, persist_config=False)  # type: ignore[no-untyped-call]

    try:
        return OfLibrary(_loaded(load))
    except BadInput as error:
        raise BadInput(_why_no_context(path, context) or str(error)) from error


def _why_no_context(path: str | None, context: str | None) -> str:
    """Empty: there is that context, or nobody can say."""
    from kubernetes.config import ConfigException  # noqa: PLC0415
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger  # noqa: PLC0415
    from yaml import YAMLError  # noqa: PLC0415

    where = path or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        config = KubeConfigMerger(where).config.value  # type: ignore[no-untyped-call]
        names = [str(each["name"]) for each in config["contexts"]]
        current = config.get("current-context")
    except (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    if (current if context is None else context) in names:
        return ""
    legal = ", ".join(map(repr, names))
    if context is not None:
        return f"--context {context!r} is not in {where}" + (
            f": legal are {legal}" if names else ", which has no contexts"
        )
    what = (
        f"the current-context of {where}, {current!r}, is not in it" if current else f"{where} names no current-context"
    )
    return what + (f": legal for --context are {legal}" if names else ", and it has no contexts")


def _plain(path: Path) -> Plain | None:
    """None: it is not as simple as that, or no JSON; whoever knows all forms is to read it."""
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_LARGEST))
        (cluster,), (user,), (context,) = config["clusters"], config["users"], config["contexts"]
        named = config["current-context"], context["context"]["cluster"], context["context"]["user"]
        if named != (context["name"], cluster["name"], user["name"]):
            return None
        server, credentials = cluster["cluster"], user["user"] or {}
        if set(server) != {"server"} or set(credentials) - {"token"} or urlsplit(server["server"]).scheme != "http":
            return None
        return Plain(str(server["server"]).rstrip("/"), str(credentials.get("token") or ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _loaded(load: "Callable[[Configuration], None]") -> "Configuration":
    from kubernetes.client import Configuration  # noqa: PLC0415
    from kubernetes.config import ConfigException  # noqa: PLC0415

    config = Configuration()
    try:
        load(config)
    except ConfigException as error:
        raise BadInput(f"no credentials for a Kubernetes API server: {error}") from error
    except Exception as error:  # the library takes what it reads for a kubeconfig, and fails as it happens
        raise BadInput("no credentials for a Kubernetes API server: the file is no kubeconfig") from error
    host = str(config.host)
    try:
        parts = urlsplit(host)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise BadInput(f"the API server of the credentials, {shown(host)}, is no http or https URL")
    return config
