"""Electrical activation of the heart."""
