"""Looking back: figures from the timeline, post-mortems and their actions, and reports by event."""
