"""Traces read back from Jaeger, by its API v3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from agentflow.exceptions import TraceNotFound, TraceUnreadable

# A trace that is larger than this is not read: it would fill the memory of who asks.
LARGEST = 512 * 1024 * 1024
_PATH = "api/v3/traces"


def fetch_trace(url: str, trace_id: str, *, timeout: float = 30.0) -> dict[str, Any]:
    """The OTLP/JSON of a trace (32 hexadecimal digits) in the Jaeger whose page is at `url`; `timeout` in seconds.

    Raises `TraceNotFound` where it is not there, or not yet: Jaeger writes some time after it took a span. Raises
    `TraceUnreadable` where nobody answers, or not as Jaeger does.
    """
    address = f"{_base(url)}/{_PATH}/{trace_id}"
    try:
        with urlopen(Request(address, headers={"accept": "application/json"}), timeout=timeout) as response:  # noqa: S310
            raw = response.read(LARGEST + 1)
    except HTTPError as error:
        raise _refusal(url, trace_id, error) from None
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TraceUnreadable(
            f"{url} cannot be asked for the trace: {reason}",
            hint="start Jaeger there, or name the address of its page (http://localhost:16686)",
        ) from None

    if len(raw) > LARGEST:
        raise TraceUnreadable(f"the trace {trace_id} is larger than {LARGEST} bytes")

    return _document(url, trace_id, raw)


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise TraceUnreadable(
            f"`{url}` is no address", hint="name the page of Jaeger: http://localhost:16686"
        )

    return url.rstrip("/")


def _refusal(url: str, trace_id: str, error: HTTPError) -> Exception:
    with error:
        said = error.read(4096)
    # Jaeger's own words; another server that answers 404 is no Jaeger.
    if error.code == 404 and b"trace" in said.lower():
        return _absent(url, trace_id)

    return TraceUnreadable(
        f"{url} answered {error.code} {error.reason} to {_PATH}",
        hint="name the page of a Jaeger v2 (http://localhost:16686); version 1 has no API v3 over HTTP",
    )


def _absent(url: str, trace_id: str) -> TraceNotFound:
    return TraceNotFound(
        f"{url} has no trace {trace_id}",
        hint="it writes spans some seconds after it took them; spans that were never sent are sent by an export",
    )


def _document(url: str, trace_id: str, raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        document = None

    if not isinstance(document, Mapping):
        raise TraceUnreadable(f"{url} did not answer with JSON", hint="name the page of a Jaeger v2")

    known = cast("dict[str, Any]", document)
    found = known.get("result", known)
    if not isinstance(found, Mapping) or not (found.get("resourceSpans") or found.get("resource_spans")):
        raise _absent(url, trace_id)

    return dict(cast("Mapping[str, Any]", found))
