"""Out-of-distribution detection with immature likelihood-based generative models (arXiv 2502.00820)."""
