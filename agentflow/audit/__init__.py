"""Whether a trail is what was written: from the rows of a journal, or from spans that were given back."""

from agentflow.audit.rows import verify_rows as verify_rows
from agentflow.audit.spans import verify_spans as verify_spans
from agentflow.audit.verdict import Fault as Fault
from agentflow.audit.verdict import Verdict as Verdict
