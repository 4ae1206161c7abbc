"""The version of agentflow, as it is stamped on runs."""

VERSION = "0.1.0"
