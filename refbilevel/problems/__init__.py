"""Families of bilevel problems: `problems.ridge(...)` and its like build a `BilevelProblem` from data.

`FAMILIES` maps a family's name to the module that defines it; names are imported on first use.
"""

from importlib import import_module as _import_module

FAMILIES = {
    "ridge": "linear_models",
    "logistic": "linear_models",
    "quadratic": "polynomial",
    "random_quadratic": "polynomial",
    "quartic": "polynomial",
    "random_quartic": "polynomial",
    "softmax": "multinomial",
    "lasso": "sparse_models",
    "elastic_net": "sparse_models",
    "group_lasso": "sparse_models",
    "svm_dual": "sparse_models",
    "box_separable": "constrained_quadratic",
    "simplex_projection": "constrained_quadratic",
    "disc_projection": "constrained_quadratic",
    "soft_threshold": "constrained_quadratic",
    "stackelberg_cournot": "constrained_quadratic",
    "toll_parallel_routes": "constrained_quadratic",
    "parametric_qp": "constrained_quadratic",
    "exponential_lambertw": "constrained_convex",
    "logit_pricing": "constrained_convex",
    "finite_sum_quadratic": "finite_sum",
    "finite_sum_logistic": "finite_sum",
}

#: problems from files, the shipped collection, the matrix form, several followers
_OTHERS = {
    "load": "loading",
    "catalogue": "loading",
    "read_record": "loading",
    "from_record": "loading",
    "QuadraticBilevel": "quadratic_bilevel",
    "join_followers": "followers",
    "batch_means": "finite_sum",
    "chunked": "row_blocks",
}


def __getattr__(name):
    if name in FAMILIES or name in _OTHERS:
        return getattr(_import_module(f"{__name__}.{(FAMILIES | _OTHERS)[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *FAMILIES, *_OTHERS])
