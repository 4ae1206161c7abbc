"""Workflows as pictures: Mermaid text from the spec alone, SVG and PNG laid out by Graphviz."""

from agentflow.drawing.chart import mermaid
from agentflow.drawing.rendering import picture

__all__ = ["mermaid", "picture"]
