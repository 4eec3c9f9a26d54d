"""Parts that make the network fast or portable and change no number: attention, layers, and logits at points."""
