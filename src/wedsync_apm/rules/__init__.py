"""Alert rules: which samples they watch, the limit that holds, and the verdict on a window."""
