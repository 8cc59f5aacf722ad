"""Two sets of measurements -> pass, fail or inconclusive for each benchmark: what keeps a worse change out."""
