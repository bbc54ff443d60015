"""How far a sampled number may be from its expectation in a test.

Every draw in these tests has a fixed seed, so that a test either passes always or fails always. The bound is
for whoever changes a seed or a stream: a number farther off than SIGMAS of its standard errors is taken for
wrong, and a right one is that far off in 6 of 100,000 comparisons (two-sided, of a normal variable).
"""

SIGMAS = 4.0
