"""What a chapter list is: time codes, the validated list, reading and writing formats, metrics."""
