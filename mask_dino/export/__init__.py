"""Write a trained model to a file that runs elsewhere; ``mask_dino.runtime`` reads it."""
