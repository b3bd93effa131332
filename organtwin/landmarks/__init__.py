"""Points, planes and axes of anatomy, found in labels and surfaces."""
