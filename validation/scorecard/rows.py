"""What is run: the settings of each peer with the classes it is for, and the probes of published defects."""

from __future__ import annotations

from dataclasses import dataclass

SMOOTH = ("quadratic", "ridge", "logistic", "softmax", "quartic", "degenerate-hessian")
TWO = ("quadratic", "ridge")
GLM = (*TWO, "logistic")
QP = ("qp", "qp-degenerate", "qp-infeasible")
ROOT = "refbilevel.validation.scorecard.peers"

#: digits, the Clarke set, and whether a missing or non-unique answer is said to be one
CHECKS = ("value", "clarke", "fault[lower_infeasible]", "fault[lower_unbounded]", "fault[degenerate]", "fault[licq_fails]",
          "fault[minimum_norm]", "fault[undefined]", "fault[nonunique]")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One setting of one peer: `function` in peers/`module`.py, run with `adapter` in `environment` on `classes`."""

    peer: str
    setting: str
    environment: str
    adapter: str
    module: str
    function: str
    classes: tuple

    @property
    def target(self):
        return f"{ROOT}.{self.module}:{self.function}"

    @property
    def command(self):
        """The check as anyone can run it, in the environment, from the root of the repository."""
        return ["-m", "refbilevel", "check", self.target, "--adapter", self.adapter, "--classes", ",".join(self.classes),
                "--checks", ",".join(CHECKS)]  # fmt: skip


ROWS = (
    Row("torch", "unrolled, K = 5", "base", "torch", "torch_baselines", "unrolled", SMOOTH),
    Row("torch", "unrolled, K = 1000", "base", "torch", "torch_baselines", "unrolled_1000", TWO),
    Row("torch", "implicit, LU", "base", "torch", "torch_baselines", "implicit", (*GLM, "softmax", "quartic")),
    Row("jax", "unrolled, K = 5", "base", "jax", "jax_baselines", "unrolled", TWO),
    Row("jax", "unrolled, K = 1000", "base", "jax", "jax_baselines", "unrolled_1000", TWO),
    Row("jax", "implicit, custom_vjp", "base", "jax", "jax_baselines", "implicit", TWO),
    Row("jaxopt", "custom_root, default (normal CG)", "jaxopt", "jax", "jaxopt_", "root", ("quadratic",)),
    Row("jaxopt", "custom_root, solve_cg", "jaxopt", "jax", "jaxopt_", "root_cg", TWO),
    Row("jaxopt", "LBFGS, defaults", "jaxopt", "jax", "jaxopt_", "lbfgs", TWO),
    Row("jaxopt", "OSQP, tol 1e-9", "jaxopt", "jax", "jaxopt_", "osqp", ("qp",)),
    Row("jaxopt", "EqualityConstrainedQP, defaults", "jaxopt", "jax", "jaxopt_", "equality_qp", ("equality",)),
    Row("jaxopt", "FixedPointIteration, tol 1e-12", "jaxopt", "jax", "jaxopt_", "fixed_point", ("fixed-point",)),
    Row("optimistix", "minimise, BFGS 1e-10", "optimistix", "jax", "optimistix_", "minimise", TWO),
    Row("optimistix", "root_find, Newton 1e-10", "optimistix", "jax", "optimistix_", "root", ("quadratic",)),
    Row("optimistix", "fixed_point, 1e-12", "optimistix", "jax", "optimistix_", "fixed_point", ("fixed-point",)),
    Row("qpax", "defaults", "qpax", "jax", "qpax_", "default", ("qp",)),
    Row("qpax", "solver_tol 1e-10, target_kappa 1e-8", "qpax", "jax", "qpax_", "tight", ("qp",)),
    Row("torchopt", "custom_root, default (normal CG)", "torchopt", "torch", "torchopt_", "default", GLM),
    Row("torchopt", "custom_root, solve_cg", "torchopt", "torch", "torchopt_", "cg", GLM),
    Row("torchopt", "custom_root, solve_inv(ns=True)", "torchopt", "torch", "torchopt_", "neumann", GLM),
    Row("torchopt", "custom_root, solve_inv()", "torchopt", "torch", "torchopt_", "inverse", GLM),
    Row("betty-ml", "cg, m iterations", "betty", "torch", "betty_", "cg", GLM),
    Row("betty-ml", "neumann, defaults", "betty", "torch", "betty_", "neumann", GLM),
    Row("boat-torch", "conjugate_gradient, 10 m iterations", "boat", "torch", "boat_", "cg", GLM),
    Row("boat-torch", "neumann, 1000 terms", "boat", "torch", "boat_", "neumann", GLM),
    Row("higher", "SGD, K = 5", "higher", "torch", "higher_", "unrolled", GLM),
    Row("higher", "SGD, K = 1000", "higher", "torch", "higher_", "unrolled_1000", ("quadratic",)),
    Row("qpth", "defaults", "qpth", "torch", "qpth_", "default", QP),
    Row("proxsuite", "QPFunction, defaults (structural_feasibility=True)", "proxsuite", "torch", "proxsuite_", "default", QP),
    Row("proxsuite", "QPFunction, tight", "proxsuite", "torch", "proxsuite_", "tight", QP),
    Row("osqp", "adjoint_derivative_compute, 1e-10, polished", "osqp", "torch", "osqp_", "adjoint", (*QP, "equality")),
    Row("cvxpylayers", "defaults", "cvxpylayers", "torch", "cvxpylayers_", "default", (*QP, "equality")),
    Row("cvxpylayers", "CLARABEL 1e-10, mode dense", "cvxpylayers", "torch", "cvxpylayers_", "clarabel", (*QP, "equality")),
    Row("cvxpylayers", 'solver="MOREAU"', "cvxpylayers", "torch", "cvxpylayers_", "moreau", (*QP, "equality")),
    Row("cvxpy", "problem.backward(), SCS defaults", "cvxpylayers", "torch", "cvxpy_backward", "default", (*QP, "equality")),
    Row("cvxpy", "problem.backward(), eps 1e-10, mode dense", "cvxpylayers", "torch", "cvxpy_backward", "tight", (*QP, "equality")),
    Row("scipy", "approx_fprime, re-solved", "base", "numpy", "differences", "scipy_forward", (*GLM, "qp")),
    Row("numdifftools", "Gradient, re-solved", "numdifftools", "numpy", "differences", "numdifftools_gradient", ("quadratic", "qp")),
)  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """One defect: defects/`script`.py with `arguments`, in `environment`."""

    title: str
    environment: str
    script: str
    arguments: tuple = ()

    @property
    def command(self):
        return [f"validation/scorecard/defects/{self.script}.py", *self.arguments]


PROBES = (
    Probe("dG of a QP scales one term by the multiplier twice", "qpax", "qpax_dG"),
    Probe('y >= 0 is dropped with solver="MOREAU"', "cvxpylayers", "cvxpylayers_moreau_bounds"),
    Probe("problem.backward() on an elastic net, default mode", "cvxpylayers", "cvxpy_backward_elastic_net"),
    Probe("CvxpyLayer on an elastic net, defaults", "cvxpylayers", "cvxpylayers_elastic_net"),
    Probe("gradients through the exponential cone, defaults", "cvxpylayers", "cvxpylayers_exponential_cone"),
    Probe("gradient with respect to a symmetric Parameter", "cvxpylayers", "symmetric_parameter"),
    Probe("a 0-d right-hand side gives exactly 0", "torchopt", "torchopt_zero_dim"),
    Probe("Neumann series: K + 1 terms in one routine, K in the other", "torchopt", "torchopt_neumann_terms"),
    Probe("Neumann series diverges without a word", "torchopt", "torchopt_neumann_default"),
    Probe("CG direction from the old residual", "betty", "betty_cg_direction"),
    Probe("CG residual ignores cg_alpha", "betty", "betty_cg_alpha"),
    Probe("Neumann series diverges without a word", "betty", "betty_neumann_default"),
    Probe("NaN becomes 0", "boat", "boat_nan_to_zero"),
    Probe('penalty="gradient" contributes nothing', "boat", "boat_gradient_penalty"),
    Probe("norm of a list is a sum of norms", "boat", "boat_tensor_norm"),
    Probe("CG returns the iterate before the last", "boat", "boat_previous_iterate"),
    Probe("a weakly active constraint gives 1/2, unflagged", "jaxopt", "jaxopt_weakly_active"),
    Probe("default adjoint: digits against the condition number", "jaxopt", "jaxopt_default_adjoint"),
    Probe("zero second moment in a differentiable Adam step", "higher", "higher_adam_nan"),
    Probe("gradcheck says True of a truncated hypergradient", "base", "gradcheck_truncated"),
    Probe("gradcheck says True of a flipped sign at scale 1e-6", "base", "gradcheck_absolute_tolerance"),
    Probe("infeasible QP, finite gradient", "qpth", "infeasible_qp", ("qpth",)),
    Probe("infeasible QP, finite gradient (structural_feasibility=True)", "proxsuite", "infeasible_qp", ("proxsuite",)),
    Probe("infeasible QP, finite gradient", "qpax", "infeasible_qp", ("qpax",)),
    Probe("infeasible QP, finite gradient (CLARABEL)", "cvxpylayers", "infeasible_qp", ("cvxpylayers",)),
    Probe("small complementarity margin", "qpth", "qpth_margin"),
    Probe("small complementarity margin", "osqp", "osqp_adjoint_margin"),
    Probe("minres: info = 0 at a residual of order 0.1", "base", "scipy_minres_success"),
    Probe("a saddle is reported as optimal (psd_wrap, Clarabel)", "base", "cvxpy_psd_wrap_saddle"),
)

#: published peers that are not run: name on the index (or "" if none) and what was tried
NOT_RUN = ("scqpth", "lpgd", "lqp-py", "alt-diff", "bpqp", "osqpth", "cuclarabel", "theseus-ai")
