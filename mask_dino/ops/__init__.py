"""What makes the network fast or portable and changes no number: the attention and the transformer layers."""
