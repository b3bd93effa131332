"""Lumped-parameter blood circulation."""
