"""The pages: server-rendered, phone first, complete without a script."""
