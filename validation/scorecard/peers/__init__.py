"""One small file for each peer: callables (problem, x) -> gradient that use the released package as its documentation says."""
