"""The embedded model: decisions and quotations by a small text-embedding model, without a language model."""
