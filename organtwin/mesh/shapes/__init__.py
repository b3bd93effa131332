"""Parametric shapes, meshed by gmsh's CAD kernel."""
