"""What becomes of finetunes: their states and evidence, when the next one starts, whether it may serve, which does."""
