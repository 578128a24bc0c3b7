"""Base models, engines, and the predictor: from a transcript to a valid chapter list."""
