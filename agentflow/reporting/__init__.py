"""A run as a person reads it: what came of it, what went wrong, and a page that shows it all."""
