"""What the command-line tools of training and testing do, under MMDetection and MMSegmentation alike."""
