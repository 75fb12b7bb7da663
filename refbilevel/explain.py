"""`Hypergradient.explain()`: what limits the accuracy, in a few sentences a reader can act on."""

from __future__ import annotations

import numpy as np


def explain(h):
    """A paragraph about the result `h`, ending with what to do."""
    lines = [f"{h.method}: {h.status.code}. {h.message}"]
    size = np.linalg.norm(h.gradient)
    lines.append(f"Gradient norm {size:.3e} (direct {np.linalg.norm(h.direct):.2e}, indirect {np.linalg.norm(h.indirect):.2e}).")
    if np.isfinite(h.error_estimate):
        digits = -np.log10(max(h.error_estimate / size, 1e-16)) if size > 0 else np.nan
        lines.append(f"Error estimate {h.error_estimate:.1e}, about {max(digits, 0):.1f} digits.")
    if np.isfinite(h.error_bound):
        lines.append(f"Rigorous bound {h.error_bound:.1e}.")
    if np.isfinite(h.attainable_digits):
        lines.append(f"Rounding leaves {h.attainable_digits:.1f} digits here.")
    if h.linear is not None and np.isfinite(h.linear.condition):
        lines.append(f"Linear solve by {h.linear.method}: residual {h.linear.residual:.1e}, condition {h.linear.condition:.1e}.")
    lines.append(_constraints(h.lower) if h.lower.mu.size else f"Lower residual {h.residual:.1e}.")
    lines.append(_advice(h, size))
    return "\n".join(line for line in lines if line)


def _constraints(lower):
    return f"Lower KKT residual {lower.residual:.1e}; {int(lower.active.sum())} of {lower.mu.size} inequalities active, margin {lower.margin:.1e}."


def _advice(h, size):
    """The dominating error, and the option that lowers it."""
    if not h.success or not np.isfinite(h.error_estimate) or size == 0:
        return ""
    floor = 10 ** -h.attainable_digits * size if np.isfinite(h.attainable_digits) else 0.0
    if h.error_estimate <= 10 * floor or h.error_estimate <= 1e-14 * size:
        return "Nothing to gain: the error is at the rounding floor."
    linear = h.linear.residual if h.linear is not None else 0.0
    if h.residual > linear * size:
        return "The lower residual dominates: pass a smaller tol, or refine=True."
    return "The linear solve dominates: pass a smaller rtol, or linear='cholesky'."
