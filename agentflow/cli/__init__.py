"""The launcher: `agentflow init, check, draw, run, resume, approve, resolve, cancel, runs, show, prune`."""

from __future__ import annotations


def main() -> None:
    """Run the launcher and end the process with its exit code."""
    # Typer and Rich are loaded by the command, not by whoever imports this package.
    from agentflow.cli.commands import run_launcher

    run_launcher()
