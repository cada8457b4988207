"""The engine: small cycles around the rooms, each restart-safe because its state is rows."""
