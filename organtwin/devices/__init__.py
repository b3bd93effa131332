"""Device frames as beams: section laws, geometry of families, bench tests of the frame alone."""
