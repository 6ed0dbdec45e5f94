"""GenerationPlan -> images -> store: from decisions to finished images."""
