"""What the exact engines stand on: circuits compiled into few operations, and kernels that carry these out."""
