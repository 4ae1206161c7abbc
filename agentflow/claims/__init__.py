"""Answers against the record of their run: what is cited, quoted and said to be done must have happened in it."""

from agentflow.claims.checking import check as check
from agentflow.claims.finding import Checked as Checked
from agentflow.claims.finding import Finding as Finding
from agentflow.claims.record import Record as Record
