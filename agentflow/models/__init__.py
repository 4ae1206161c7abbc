"""Language models: how they are named, reached, recorded and priced; `sdk` and `agent` are the SDK's only home."""
