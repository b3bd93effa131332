"""Tetrahedra, their quality, and domains whose parts have names."""
