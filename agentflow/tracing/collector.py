"""Where spans are sent and as whose, as OpenTelemetry's environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

from agentflow.exceptions import ProjectError
from agentflow.tracing import semconv

T = TypeVar("T")
Compression = Literal["none", "gzip", "deflate"]
Protocol = Literal["http/protobuf", "http/json"]
_COMPRESSIONS: dict[str, Compression] = {"": "none", "none": "none", "gzip": "gzip", "deflate": "deflate"}
_PROTOCOLS: dict[str, Protocol] = {
    "": "http/protobuf",
    "http/protobuf": "http/protobuf",
    "http/json": "http/json",
}
_PATH = "v1/traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A receiver of OTLP over HTTP. `endpoint` is the whole address, path included; `timeout` in seconds.

    `certificate` is the authority to trust; `client_key` and `client_certificate` say who we are.
    """

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 10.0
    compression: Compression = "none"
    protocol: Protocol = "http/protobuf"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    @property
    def place(self) -> str:
        """What names it where it is written down: its address without what is asked of it, or who asks."""
        parts = urlsplit(self.endpoint)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def collector_of(environ: Mapping[str, str]) -> Collector | None:
    """The collector that OTEL_EXPORTER_OTLP_* name, or None where nothing is to be sent.

    Raises `ProjectError` where they ask for what is not spoken here, or name no address.
    """
    endpoint = _endpoint(environ)
    if endpoint is None or is_off(environ):
        return None

    return collector_at(endpoint, environ)


def collector_at(endpoint: str, environ: Mapping[str, str]) -> Collector:
    """The collector at a whole address, to be spoken to as OTEL_EXPORTER_OTLP_* say."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProjectError(
            f"`{endpoint}` is no address of a collector", hint="name it as in http://localhost:4318/v1/traces"
        )

    return Collector(
        endpoint=endpoint,
        headers=pairs(_setting(environ, "HEADERS")),
        timeout=_seconds(_setting(environ, "TIMEOUT")),
        compression=_known(_COMPRESSIONS, environ, "COMPRESSION", ""),
        protocol=_known(
            _PROTOCOLS,
            environ,
            "PROTOCOL",
            "; spans go over HTTP, so the port is 4318 where 4317 is that of gRPC",
        ),
        certificate=_setting(environ, "CERTIFICATE") or None,
        client_key=_setting(environ, "CLIENT_KEY") or None,
        client_certificate=_setting(environ, "CLIENT_CERTIFICATE") or None,
    )


def whole_address(base: str) -> str:
    """The address of traces at a collector that is named without a path, as OTEL_EXPORTER_OTLP_ENDPOINT names one."""
    return base if urlsplit(base).path.rstrip("/").endswith(_PATH) else f"{base.rstrip('/')}/{_PATH}"


def names_collector(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector at all."""
    return _endpoint(environ) is not None


def _endpoint(environ: Mapping[str, str]) -> str | None:
    whole = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return whole or (f"{base.rstrip('/')}/{_PATH}" if base else None)


def is_off(environ: Mapping[str, str]) -> bool:
    """Whether the environment says that no spans are to be sent."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or "none" in environ.get("OTEL_TRACES_EXPORTER", "").strip().lower().split(",")


def silencers(environ: Mapping[str, str]) -> list[str]:
    """What is to be said of variables that would keep a trail from being written: that they do not, and what they do."""
    said: list[str] = []
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if is_off(environ):
        name = "OTEL_SDK_DISABLED" if environ.get("OTEL_SDK_DISABLED") else "OTEL_TRACES_EXPORTER"
        said.append(f"{name} keeps spans from being sent; the journal holds the run all the same")

    if sampler not in ("", "always_on", "parentbased_always_on"):
        said.append(
            f"OTEL_TRACES_SAMPLER={sampler} is not followed: a trail with gaps proves nothing, so it is whole"
        )

    return said


def _setting(environ: Mapping[str, str], name: str) -> str:
    """A setting of its own for traces wins over the one for all signals."""
    own = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "")
    return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _known(values: Mapping[str, T], environ: Mapping[str, str], name: str, more: str) -> T:
    text = _setting(environ, name).strip().lower()
    if text not in values:
        raise ProjectError(
            f"OTEL_EXPORTER_OTLP_{name} is `{text}`, which agentflow does not speak",
            hint=f"set it to one of: {', '.join(filter(None, values))}{more}",
        )

    return values[text]


def flush_seconds(environ: Mapping[str, str], default: float) -> float:
    """For how long at most the end of a run waits for a collector: OTEL_BSP_EXPORT_TIMEOUT, which is in milliseconds."""
    return _seconds(environ.get("OTEL_BSP_EXPORT_TIMEOUT", ""), default * 1000) / 1000


def _seconds(text: str, default: float = 10.0) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return default

    return seconds if 0 < seconds < float("inf") else default


def pairs(text: str) -> dict[str, str]:
    """`a=1,b=2%2C3` as a mapping, the form of headers and of resource attributes."""
    found = (entry.partition("=") for entry in text.split(",") if "=" in entry)
    return {name.strip(): unquote(value.strip()) for name, _, value in found}


def service_name(environ: Mapping[str, str]) -> str:
    """What this process calls itself; `` where it has no name of its own."""
    given = pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    return environ.get("OTEL_SERVICE_NAME") or given.get(semconv.SERVICE_NAME, "")


def resource_of(trace_id: int, service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Who made spans of a trace, for the collector: the same for a run however often and wherever it is sent.

    `service` is the process that did the work, as the run's own events name it.
    """
    return {
        semconv.SERVICE_INSTANCE_ID: str(UUID(int=trace_id)),
        semconv.CONVENTION_VERSION: semconv.CONVENTION,
        **pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
        semconv.SERVICE_NAME: service or service_name(environ) or "agentflow",
    }
