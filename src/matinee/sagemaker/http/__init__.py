"""The HTTP front: who may ask, in which protocol, and what a request must look like."""
