"""Write batches become packed rows, without anybody who reads seeing a difference."""
