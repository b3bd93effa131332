"""Anatomy of the ventricles: coordinates, fibres, landmarks."""
