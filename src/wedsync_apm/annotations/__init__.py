"""What happened, as other systems tell it: deployments, restarts, notes. Charts show them."""
