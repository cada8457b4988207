"""Everything that reaches a person: the outbox, the stages, and the channels."""
