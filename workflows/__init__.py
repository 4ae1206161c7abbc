"""The workflows of this project."""
