"""Lower-level solvers. `SOLVERS` maps a method's name to its `LowerSolver`, one line an entry."""

from .gradient import accelerated_gradient, gradient_descent, heavy_ball
from .newton import newton

SOLVERS = {
    s.name: s
    for s in (
        newton,
        gradient_descent,
        accelerated_gradient,
        heavy_ball,
    )
}
