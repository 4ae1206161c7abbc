"""How much a workflow can do at most, and needs at least, before it runs: pure functions of its spec."""

from agentflow.bounds.amount import COUNTS, Amount, Bound
from agentflow.bounds.budgeting import above, below
from agentflow.bounds.least import least, least_of
from agentflow.bounds.worst import worst_case

__all__ = ["COUNTS", "Amount", "Bound", "above", "below", "least", "least_of", "worst_case"]
