"""Medical images and label maps."""
