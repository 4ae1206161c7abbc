"""Embedding by any server that answers `POST /v1/embeddings` as OpenAI's does."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from agentflow.exceptions import NetworkUnavailable, ProjectError, RateLimited, ToolError, ToolTimeout
from agentflow.secrets import Secret, redact

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

_MOST_WAIT = 30.0  # seconds that are waited before one more try, whatever the server asks for
_LARGEST = 64 * 2**20  # bytes of an answer
_SAID = 300  # characters of a server's own words that an error shows


class EndpointEncoder:
    """Turns texts into vectors by the model `model` of the server at `url`, such as `https://api.openai.com/v1`.

    `key` names the secret that goes along as a bearer token. `dimension` asks for vectors of that many numbers, from
    models that can shorten them; else it is what the server's vectors have. Up to `batch` texts go in one request.
    What may pass (429, 5xx, no connection) is tried up to `tries` times, as the server says or with growing
    waits. Raises `RateLimited`, `NetworkUnavailable`, `ToolTimeout`, `ToolError`, `SecretMissing`.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: Secret | None = None,
        dimension: int | None = None,
        batch: int = 64,
        seconds: float = 60.0,
        tries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            hint = (
                "give the server's base, such as `https://api.openai.com/v1` or `http://localhost:11434/v1`"
            )
            raise ProjectError(f"`{url}` is no address of an embedding server", hint=hint)

        self.url = f"{url.rstrip('/')}/embeddings"
        self._model, self._key, self._asked = model, key, dimension
        self._batch, self._seconds, self._tries, self._sleep = batch, seconds, tries, sleep
        self._dimension = dimension
        self._client: httpx.Client | None = None
        self._guard = threading.Lock()

    @property
    def name(self) -> str:
        """The model; with the dimension where vectors are shortened, as those are other vectors."""
        return f"{self._model}/{self._asked}" if self._asked else self._model

    @property
    def dimension(self) -> int:
        """The numbers of a vector; the server is asked if it has not answered yet."""
        if self._dimension is None:
            self.embed(["dimension"])

        assert self._dimension is not None
        return self._dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row a text, float32, each of length 1."""
        import numpy as np

        parts = [self._embedded(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            client, self._client = self._client, None

        if client is not None:
            client.close()

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        asked: dict[str, Any] = {
            "model": self._model,
            "input": [text if text.strip() else "-" for text in texts],  # servers refuse empty ones
            "encoding_format": "float",
        }
        if self._asked:
            asked["dimensions"] = self._asked

        for number in range(1, self._tries + 1):
            try:
                return self._vectors(self._answer(asked), len(texts))
            except (RateLimited, NetworkUnavailable) as error:
                if number == self._tries:
                    raise

                self._sleep(_wait(number, getattr(error, "retry_after", None)))

        raise AssertionError

    def _answer(self, asked: dict[str, Any]) -> Any:
        import httpx

        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        try:
            with self._opened().stream("POST", self.url, json=asked, headers=headers) as response:
                data = self._received(response)
        except httpx.TimeoutException:
            raise ToolTimeout(
                f"the embedding server `{self.url}` did not answer within {self._seconds:g} s",
                hint="is it overloaded? smaller batches or a longer `seconds` may help",
            ) from None
        except httpx.HTTPError as error:
            raise NetworkUnavailable(
                f"the embedding server `{self.url}` cannot be reached: {error or type(error).__name__}",
                hint="start it, or mend the `url` of the store's `embedding`",
            ) from None

        if response.status_code != 200:
            self._refuse(response, data)

        try:
            return json.loads(data)
        except ValueError:
            raise self._unusable("it is no JSON") from None

    def _opened(self) -> httpx.Client:
        import httpx

        with self._guard:
            if self._client is None:
                self._client = httpx.Client(
                    timeout=self._seconds
                )  # follows no redirect, which would take the key along

            return self._client

    def _received(self, response: httpx.Response) -> bytes:
        data = bytearray()
        for part in response.iter_bytes():
            data += part
            if len(data) > _LARGEST:
                raise self._unusable(f"it has more than {_LARGEST // 2**20} MB")

        return bytes(data)

    def _refuse(self, response: httpx.Response, data: bytes) -> NoReturn:
        status = response.status_code
        said = (
            f"the embedding server `{self.url}` answered {status}: {_message(data) or response.reason_phrase}"
        )
        if status == 429:
            raise RateLimited(said, hint="ask it less often, or later", retry_after=_retry_after(response))

        if status >= 500:
            raise NetworkUnavailable(said, hint="try again later")

        hints = {
            401: f"is the secret `{self._key.name}` right?"
            if self._key
            else "it wants a key: name its secret as `key`",
            403: "may this key use the model?",
            404: "mend the `url` (it mostly ends in `/v1`) or the `model`",
        }
        raise ToolError(said, hint=hints.get(status, "mend the `embedding` of the store"))

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:
        """The vectors of an answer in the order of the texts, checked and brought to length 1."""
        import numpy as np

        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            raise self._unusable("it holds no list of vectors of one length") from None

        if vectors.ndim != 2 or len(vectors) != count or [row["index"] for row in rows] != list(range(count)):
            raise self._unusable(f"it holds {len(rows)} vectors for {count} texts")

        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._unusable("it holds a vector of no direction")

        self._learn(vectors.shape[1])
        result: NDArray[np.float32] = vectors / lengths
        return result

    def _learn(self, dimension: int) -> None:
        with self._guard:
            self._dimension = self._dimension or dimension

        if dimension != self._dimension:
            raise self._unusable(f"its vectors have {dimension} numbers instead of {self._dimension}")

    def _unusable(self, why: str) -> ToolError:
        return ToolError(
            f"the answer of the embedding server `{self.url}` cannot be used: {why}",
            hint="it has to answer as OpenAI's `/v1/embeddings` does",
        )


def _message(data: bytes) -> str:
    """What a server says about an error: in OpenAI's form, or as text."""
    text = data.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        pass

    return redact(" ".join(text.split())[:_SAID])


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:  # a date, which no embedding server sends
        return None


def _wait(number: int, said: float | None) -> float:
    """Seconds before try `number` + 1; many clients must not come back at the same moment."""
    return min(_MOST_WAIT, said if said is not None else 2 ** (number - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
