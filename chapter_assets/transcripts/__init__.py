"""What was said when: the segment table, readers, quality filters."""
