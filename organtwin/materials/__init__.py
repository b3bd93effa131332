"""Constitutive laws."""
