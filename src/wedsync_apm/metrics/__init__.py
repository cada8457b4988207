"""The customers' samples: series, batches, blocks, rollups, and reading them back."""
