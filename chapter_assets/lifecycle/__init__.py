"""The life of a finetune: its states and evidence, and when the next one starts."""
