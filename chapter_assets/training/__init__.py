"""From windows to an adapter: splits, the training set and its manifest, the finetune itself."""
