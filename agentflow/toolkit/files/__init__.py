"""File search over folders of documents: parsing, passages, one index file a store, filters, and hybrid ranking."""

from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.endpoint import EndpointEncoder
from agentflow.toolkit.files.filters import Condition, Filter
from agentflow.toolkit.files.index import IndexReport, Progress, Skipped
from agentflow.toolkit.files.parsing import read_document
from agentflow.toolkit.files.retrieval import FileMatch
from agentflow.toolkit.files.scope import Rule
from agentflow.toolkit.files.search import Excerpt, FileSearch, index_path
from agentflow.toolkit.files.stores import Stores, StoreSettings, stores_of
from agentflow.toolkit.files.vector_store import IndexMismatch, VectorStore

__all__ = [
    "Condition",
    "Document",
    "EndpointEncoder",
    "Excerpt",
    "FileMatch",
    "FileSearch",
    "Filter",
    "IndexMismatch",
    "IndexReport",
    "Progress",
    "Rule",
    "Skipped",
    "StoreSettings",
    "Stores",
    "VectorStore",
    "index_path",
    "read_document",
    "stores_of",
]
