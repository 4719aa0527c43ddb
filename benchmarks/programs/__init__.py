"""Programs that the benchmarks start; each stands alone and imports nothing of ours."""
