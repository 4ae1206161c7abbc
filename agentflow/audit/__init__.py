"""Whether a trail is what was written: from the rows of a journal, or from spans that were given back."""
