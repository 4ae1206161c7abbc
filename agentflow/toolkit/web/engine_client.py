"""The HTTP client that the engines of `ddgs` use, watched: it keeps what they drop, and reads no more than it should."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentflow.toolkit.guard import retry_after
from agentflow.toolkit.web.provider import refusal

if TYPE_CHECKING:
    from ddgs.http_client import HttpClient

_LARGEST = 4_000_000  # bytes of a page of results, decompressed; real ones have a tenth of that


class TooLarge(Exception):
    """Raised when an engine answers with more than is read of it."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A response as the engines read it."""

    status_code: int
    content: bytes
    text: str


@dataclass(slots=True)
class EngineClient:
    """Stands in for the package's own client, whose responses lose their status on the way to the caller."""

    watched: HttpClient
    _statuses: list[tuple[int, float | None]] = field(default_factory=list[tuple[int, float | None]])

    @property
    def client(self) -> Any:
        """The client below, in which engines set cookies."""
        return self.watched.client

    def request(self, *args: Any, **kwargs: Any) -> _Page:
        """As the package's client has it: raises its exceptions, and `TooLarge` beyond the size of any real answer."""
        import primp
        from ddgs.exceptions import DDGSException, TimeoutException

        try:
            response = self.client.request(*args, stream=True, **kwargs)
            body = _read(response)
        except primp.TimeoutError as error:
            raise TimeoutException(error) from error
        except primp.PrimpError as error:
            raise DDGSException(f"{type(error).__name__}: {error!r}") from error

        self._statuses.append((response.status_code, retry_after(response.headers.get("retry-after"))))
        return _Page(response.status_code, body, body.decode(response.encoding or "utf-8", "replace"))

    def get(self, *args: Any, **kwargs: Any) -> _Page:
        return self.request("GET", *args, **kwargs)

    def post(self, *args: Any, **kwargs: Any) -> _Page:
        return self.request("POST", *args, **kwargs)

    def check(self, name: str) -> None:
        """Raise what the statuses stand for that `name` answered with: the package takes each for "no hits"."""
        for status, wait in self._statuses:
            if error := refusal(name, status, retry_after=wait):
                raise error


def _read(response: Any) -> bytes:
    body = bytearray()
    with response:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise TooLarge(f"{_LARGEST:,} bytes")

    return bytes(body)
