"""OpenTelemetry's SDK with an exporter in memory."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def memory_provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider that batches spans, and where they come to."""
    provider, kept = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(kept, max_queue_size=1_000_000))
    return provider, kept
