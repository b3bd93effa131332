"""Anatomy on a mesh: coordinates, segments, directions in ventricles, atria, vessels and bone."""
