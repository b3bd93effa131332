"""What a transcatheter valve is planned by: sizes, heights and calcium of an aortic root."""
