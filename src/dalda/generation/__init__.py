"""Plan -> images -> store: from decisions to finished pictures."""
