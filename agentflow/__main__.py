"""`python -m agentflow` is the launcher."""

from agentflow.cli import main

main()
