"""Where spans are sent and as whose, as OpenTelemetry's environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote
from uuid import UUID

from agentflow.tracing import semconv

Compression = Literal["none", "gzip", "deflate"]
_COMPRESSIONS: dict[str, Compression] = {"gzip": "gzip", "deflate": "deflate"}
_TRACES_PATH = "v1/traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A receiver of OTLP over HTTP. `endpoint` is the whole address, path included; `timeout` in seconds.

    `certificate` is the authority to trust; `client_key` and `client_certificate` say who we are.
    """

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 10.0
    compression: Compression = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None


def collector_of(environ: Mapping[str, str]) -> Collector | None:
    """The collector that OTEL_EXPORTER_OTLP_* name, or None where nothing is to be sent."""
    endpoint = _endpoint(environ)
    if endpoint is None or _is_off(environ):
        return None

    return Collector(
        endpoint=endpoint,
        headers=pairs(_setting(environ, "HEADERS")),
        timeout=_seconds(_setting(environ, "TIMEOUT")),
        compression=_COMPRESSIONS.get(_setting(environ, "COMPRESSION").strip().lower(), "none"),
        certificate=_setting(environ, "CERTIFICATE") or None,
        client_key=_setting(environ, "CLIENT_KEY") or None,
        client_certificate=_setting(environ, "CLIENT_CERTIFICATE") or None,
    )


def _endpoint(environ: Mapping[str, str]) -> str | None:
    whole = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return whole or (f"{base.rstrip('/')}/{_TRACES_PATH}" if base else None)


def _is_off(environ: Mapping[str, str]) -> bool:
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def _setting(environ: Mapping[str, str], name: str) -> str:
    """A setting of its own for traces wins over the one for all signals."""
    own = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "")
    return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 10.0


def pairs(text: str) -> dict[str, str]:
    """`a=1,b=2%2C3` as a mapping, the form of headers and of resource attributes."""
    found = (entry.partition("=") for entry in text.split(",") if "=" in entry)
    return {name.strip(): unquote(value.strip()) for name, _, value in found}


def resource_of(trace_id: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Who made a trace, for the collector: the same for a run however often and wherever it is sent."""
    given = pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    return {
        semconv.SERVICE_INSTANCE_ID: str(UUID(int=trace_id)),
        semconv.CONVENTION_VERSION: semconv.CONVENTION,
        **given,
        semconv.SERVICE_NAME: environ.get("OTEL_SERVICE_NAME")
        or given.get(semconv.SERVICE_NAME)
        or "agentflow",
    }
