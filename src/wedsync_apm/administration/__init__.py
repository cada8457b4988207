"""What an operator does at the command line: organizations, people, operators and keys."""
