"""Objects of S3 and what is made of them: archives, artifacts, model data, hashes."""
