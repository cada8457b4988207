"""What organizations keep, and what that costs."""
