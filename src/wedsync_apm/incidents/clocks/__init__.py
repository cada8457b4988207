"""What runs out while an incident is open: a hold without a word, a promise, and what it hits."""
