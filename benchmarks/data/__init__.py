"""From a file of reviews to what Factorization Machines read: matinee beside the original's way."""
