"""What users said of chapters that were shown to them: reading sealed batches, which records count, windows of them."""
