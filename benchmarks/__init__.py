"""What matinee's documentation says about speed and accuracy, measured; run by `make bench`."""
