"""Lower-level solvers. `SOLVERS` maps a method's name to its `LowerSolver`, one line an entry."""

from .box import box
from .convex import convex
from .gradient import accelerated_gradient, gradient_descent, heavy_ball
from .newton import newton
from .quadratic import quadratic
from .simplex import simplex

SOLVERS = {
    s.name: s
    for s in (
        newton,
        convex,
        quadratic,
        box,
        simplex,
        gradient_descent,
        accelerated_gradient,
        heavy_ball,
    )
}
