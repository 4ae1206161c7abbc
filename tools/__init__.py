"""The tools of this project: what its planners may use, with their policy."""
