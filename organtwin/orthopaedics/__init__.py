"""Implants in bones: operations, loads, and what a planner asks."""
