"""What becomes of a finetune: whether it may serve, and which one does."""
