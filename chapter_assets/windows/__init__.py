"""What a model sees: cutting windows, the one prompt builder, mapping answers back, stitching."""
