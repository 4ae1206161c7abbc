"""Spans as a function of committed events: OpenTelemetry's GenAI conventions, one trace a run."""
