"""What providers and people say of messages that were sent."""
