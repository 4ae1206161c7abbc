"""What an action and a call of an MCP tool cost: `python -m tests.benchmarks.actions_cost [--json]`.

Calls go to servers on this machine, so that what is measured is our side: CPU of this process, which also runs the servers
(in threads), and wall time. A plain client on the same server says what of that is not ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from agentflow.mcp import McpServer, McpTool
from agentflow.models.mcp import McpSession
from agentflow.toolkit.actions import actions
from agentflow.toolkit.mcp import client_of
from tests.models.mcp_shop import serving as serving_mcp
from tests.models.recording import recorded
from tests.toolkit.api import Answer, serving

CALLS, OPERATIONS, SCHEMAS = 300, 500, 100
ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["id", "sku"],
    "properties": {
        "id": {"type": "integer"},
        "sku": {"type": "string", "pattern": "^[A-Z]{1,8}$"},
        "due": {"type": "string", "format": "date"},
    },
}


def large() -> dict[str, Any]:
    """A document of many operations, whose schemas refer to one another in a circle."""
    schemas = {
        f"S{n}": {
            **ORDER,
            "properties": {
                **ORDER["properties"],
                "next": {"$ref": f"#/components/schemas/S{(n + 1) % SCHEMAS}"},
            },
        }
        for n in range(SCHEMAS)
    }
    paths: dict[str, Any] = {}
    for n in range(OPERATIONS):
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/S{n % SCHEMAS}"}}}
        parameters = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
            {"name": "q", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
        ]
        paths[f"/things{n}/{{id}}"] = {
            "post": {
                "operationId": f"op{n}",
                "parameters": parameters,
                "requestBody": {"content": content},
                "responses": {"200": {"description": "ok", "content": content}},
            }
        }

    info = {"title": "Large", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "https://api.example.com"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def made() -> dict[str, Any]:
    """The time and memory that a large document takes."""
    document = large()
    actions(document, include=["op1"])  # what is imported once
    begun = time.process_time()
    tools = actions(document)
    seconds = time.process_time() - begun
    tracemalloc.start()
    actions(document)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "operations": len(tools),
        "tools_per_second": round(len(tools) / seconds),
        "seconds": round(seconds, 2),
        "peak_mb": round(peak / 1e6, 1),
    }


async def timed(call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Milliseconds of one of many calls: wall, median and 95th of a hundred, and CPU of all."""
    for _ in range(20):
        await call()

    walls: list[float] = []
    begun = time.process_time()
    for _ in range(CALLS):
        at = time.perf_counter()
        await call()
        walls.append(1000 * (time.perf_counter() - at))

    cpu = 1000 * (time.process_time() - begun) / CALLS
    return {
        "median_ms": round(statistics.median(walls), 2),
        "p95_ms": round(statistics.quantiles(walls, n=20)[-1], 2),
        "cpu_ms": round(cpu, 2),
    }


async def called() -> dict[str, Any]:
    """The time of a call: of a plain client, of an action outside and inside of a run, and of an MCP tool over HTTP."""
    found: dict[str, Any] = {}
    with serving() as api:
        api.always = Answer(200, {"id": 7, "sku": "A", "due": "2030-01-31"})
        node = {
            "operationId": "get",
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": ORDER}}}},
        }
        document = {"openapi": "3.1.0", "info": {"title": "T"}, "paths": {"/orders/{id}": {"get": node}}}
        (get,) = actions(document, server=api.url, networks=["127.0.0.1/32"])
        async with httpx.AsyncClient() as client:
            found["plain client"] = await timed(lambda: client.get(f"{api.url}/orders/7"))

        found["action, outside of a run"] = await timed(lambda: get.invoke({"id": 7}))
        with recorded():
            found["action, inside of a run"] = await timed(lambda: get.invoke({"id": 7}))

    with serving_mcp([]) as url:
        server = McpServer(
            name="shop", url=url, networks=["127.0.0.1/32"], tools={"stock": McpTool(effect="read")}
        )
        session = McpSession(server=server, clients=client_of)
        (stock,) = await session.tools()
        found["MCP tool over HTTP"] = await timed(lambda: stock.invoke({"item": "x"}))
        await session.aclose()

    return found


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = {"a large document": made(), **asyncio.run(called())}
    if parser.parse_args().json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0

    for name, values in figures.items():
        sys.stdout.write(f"{name:26} {', '.join(f'{key} {value}' for key, value in values.items())}\n")

    return 0


if __name__ == "__main__":
    sys.exit(main())
