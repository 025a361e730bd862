"""What people ask of a trace beyond its metrics: locality, what a cache would do, where the tail comes from."""
