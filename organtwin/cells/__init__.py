"""Muscle cells: ionic models as data, their compiled kernels, active tension."""
