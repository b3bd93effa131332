"""From measurements to parameters with error bars."""
