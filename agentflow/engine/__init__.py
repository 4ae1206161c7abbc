"""Running workflows: a pure reducer over events, and a thin runner that carries out its commands."""
