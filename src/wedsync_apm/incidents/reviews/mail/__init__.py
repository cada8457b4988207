"""What goes out about the past: reports of weddings and Saturdays, and what is overdue."""
