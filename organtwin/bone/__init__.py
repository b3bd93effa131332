"""Bone from a CT: HU to density, density to stiffness, onto the elements of a mesh."""
