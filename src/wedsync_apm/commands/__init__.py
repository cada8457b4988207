"""The commands, one file a group. Each finds a running server by its data folder."""
