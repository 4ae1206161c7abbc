"""File search over a folder of documents: parsing, passages, one index file, and hybrid ranking."""

from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.index import IndexReport, Progress, Skipped
from agentflow.toolkit.files.parsing import read_document
from agentflow.toolkit.files.search import FileSearch, index_path

__all__ = ["Document", "FileSearch", "IndexReport", "Progress", "Skipped", "index_path", "read_document"]
