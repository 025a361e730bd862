"""Questions that need the whole trace: locality, what a cache would do, where the tail comes from. Pure functions of a Trace."""
