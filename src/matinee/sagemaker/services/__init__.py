"""The operations, one module per kind of resource; each exports OPERATIONS by AWS's names."""
