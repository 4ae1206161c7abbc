"""How much a workflow can do at most, and needs at least, before it runs: pure functions of its spec."""

from agentflow.bounds.amount import COUNTS, Amount, Bound
from agentflow.bounds.budgeting import Held, against
from agentflow.bounds.least import least
from agentflow.bounds.worst import worst_case

__all__ = ["COUNTS", "Amount", "Bound", "Held", "against", "least", "worst_case"]
