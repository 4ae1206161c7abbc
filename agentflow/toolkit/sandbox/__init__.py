"""A sandbox for programs that a model wrote: two engines, one way to use them."""

from agentflow.toolkit.sandbox.monty import MODULES
from agentflow.toolkit.sandbox.probe import Probe, probe
from agentflow.toolkit.sandbox.result import CodeResult, OutputFile
from agentflow.toolkit.sandbox.sandbox import EngineName, Sandbox, SandboxSession, described

__all__ = [
    "MODULES",
    "CodeResult",
    "EngineName",
    "OutputFile",
    "Probe",
    "Sandbox",
    "SandboxSession",
    "described",
    "probe",
]
