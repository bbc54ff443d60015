"""How far the jobs of a sweep are, from what they leave on the disk. Light: no torch, nothing drawn."""
