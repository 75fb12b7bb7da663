"""A gradient check that passes on a hypergradient with no correct digit, and what the kit says about it.

Ridge regression with one log-penalty for each coefficient; the hypergradient is taken by reverse mode through K = 5 gradient steps.
`torch.autograd.gradcheck` differences the same five steps that it differentiates, so it answers True; the gradient it approves is
that of f(x, y_5(x)), not of f(x, y*(x)). Only a check that knows y*(x) can see this. Run with torch installed:

    python -m refbilevel.validation.experiments.gradcheck_passes
"""

from __future__ import annotations

from refbilevel.validation import check_implementation, digits
from refbilevel.validation.cases import load_case

CASE, STEP = "ridge/lower/4", 5e-3


def unrolled(problem, x, K=5, step=STEP):
    """Reverse mode through K gradient steps from zero: the textbook loop."""
    import torch

    y = problem.y0.clone().requires_grad_()
    for _ in range(K):
        y = y - step * torch.autograd.grad(problem.g(x, y), y, create_graph=True)[0]
    return torch.autograd.grad(problem.f(x, y), x)[0]


def gradcheck(K):
    """(gradcheck's verdict, correct digits) of K unrolled steps."""
    import torch

    from refbilevel.validation import implementation

    case = load_case(CASE)
    tested = implementation(unrolled, adapter="torch")
    f, g = case.functions.f, case.functions.g

    def objective(x):
        y = torch.zeros(case.problem.m, dtype=torch.float64, requires_grad=True)
        for _ in range(K):
            y = y - STEP * torch.autograd.grad(g(x, y), y, create_graph=True)[0]
        return f(x, y)

    verdict = torch.autograd.gradcheck(objective, (torch.tensor(case.x, requires_grad=True),))
    return verdict, digits(tested.run("hypergradient", case, case.x, K=K).vector, case.reference)


def main():
    for K in (5, 50, 500, 5000):
        verdict, correct = gradcheck(K)
        print(f"K = {K:3d}   gradcheck: {verdict}   correct digits: {correct:.2f}")
    report = check_implementation(unrolled, adapter="torch", classes=["ridge"], checks="value")
    print(report.summary())


if __name__ == "__main__":
    main()
