"""Physics that act on each other."""
