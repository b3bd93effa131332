"""From labels or surfaces to conforming tetrahedra."""
