"""Finite-strain mechanics."""
