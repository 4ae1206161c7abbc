"""`audit head`, `sign` and `keygen`: heads of runs, where they are kept, and what they are signed with."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

from agentflow import app
from agentflow.audit.heads import Head
from agentflow.audit.keys import make_key
from agentflow.cli.definitions import opened, project_here
from agentflow.cli.output import DONE, escape, out, print_json
from agentflow.encoding import chain_of
from agentflow.exceptions import HeadsUnusable


def print_head(run: str, *, as_json: bool) -> int:
    """Show the head of a run, alone so that a script can take it; gives the exit code."""
    head, count, chain = asyncio.run(_head(run))
    if as_json:
        print_json({"run": run, "head": head, "count": count, "chain": chain})
    else:
        out.print(head)

    return DONE


async def _head(run: str) -> tuple[str, int, int]:
    async with opened(read_only=True) as journal:
        # Read, so that the head is that of events which follow on one another.
        events = await app.load(journal, run)
        return await journal.head(run), len(events), chain_of(events[0])


def sign_head(run: str, *, as_json: bool) -> int:
    """Have the head of a run kept as it is now; gives the exit code."""
    heads = project_here().heads()
    if heads is None:
        raise HeadsUnusable(
            "no file is named that heads of runs are kept in",
            hint="set `heads` in `[tool.agentflow.audit]`, or AGENTFLOW_AUDIT_HEADS",
        )

    async def keep() -> Head:
        async with opened(read_only=True) as journal:
            return await app.keep_head(journal, run, heads)

    kept = asyncio.run(keep())
    if as_json:
        print_json({**asdict(kept), "file": str(heads.path)})
    else:
        by = f", signed by key {kept.key}" if kept.key else ", not signed: no key is set"
        out.print(f"head {kept.head[:16]} of {kept.count} events kept in {escape(str(heads.path))}{by}")

    return DONE


def write_key(path: Path, *, as_json: bool) -> int:
    """Make a key and say what to do with it; gives the exit code."""
    key = make_key(path)
    public = f"{path}.pub"
    if as_json:
        print_json({"key": key.id, "private": str(path), "public": public})
        return DONE

    out.print(f"key {key.id}")
    out.print(f"  {escape(str(path))}  signs; keep it to yourself, and out of the repository")
    out.print(f"  {escape(public)}  verifies; give it to who checks the trail")
    out.print("\n[cyan]next:[/] name it in pyproject.toml, with a file of heads that is kept elsewhere:")
    out.print(escape(f'  [tool.agentflow.audit]\n  key = "{path}"\n  heads = "/mnt/elsewhere/heads.jsonl"'))
    return DONE
