"""How equations are solved, and how that can fail."""
