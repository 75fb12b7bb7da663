"""The layer inside torch and JAX: gradcheck-clean, batched, and a loop that learns."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import StatusError


def layer_problem(a=0.5):
    """g = |y - a M x - N z|^2/2 + sum y^4/12, f = |x - B z|^2/2 + |y|^2/2; n = 2, m = 3, k = 4."""
    rng = np.random.default_rng(0)
    M, N, B = rng.standard_normal((3, 2)), rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    return rb.LayerProblem(
        n=2, m=3, k=4,
        f=lambda x, y, z: 0.5 * (x - B @ z) @ (x - B @ z) + 0.5 * y @ y, f_x=lambda x, y, z: x - B @ z, f_y=lambda x, y, z: y.copy(),
        f_z=lambda x, y, z: -B.T @ (x - B @ z),
        g=lambda x, y, z: 0.5 * y @ y - y @ (a * M @ x + N @ z) + (y**4).sum() / 12,
        g_y=lambda x, y, z: y - a * M @ x - N @ z + y**3 / 3, g_yy=lambda x, y, z: np.diag(1 + y**2),
        g_xy=lambda x, y, z: -a * M.T, g_zy=lambda x, y, z: -N.T,
    )  # fmt: skip


def qp_blocks():
    rng = np.random.default_rng(1)
    M = rng.standard_normal((4, 4))
    G = rng.standard_normal((3, 4))
    return M @ M.T + np.eye(4), rng.standard_normal(4), G, np.array([0.1, 0.2, 3.0]), np.ones((1, 4)), np.array([0.5])


@pytest.mark.torch
def test_gradcheck_of_the_layer_alone_and_in_a_batch():
    torch = pytest.importorskip("torch")
    from refbilevel.frontends.torch import layer

    call = layer(rb.BilevelLayer(layer_problem()))
    z = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (z,))
    Z = torch.stack([z.detach(), -z.detach()]).requires_grad_()
    x, y = call(Z)
    assert x.shape == (2, 2) and y.shape == (2, 3)
    assert torch.autograd.gradcheck(call, (Z,))
    single = call(z.detach().float())
    assert single[0].dtype == torch.float32


@pytest.mark.torch
def test_gradcheck_of_a_lower_solution_map_and_of_the_qp():
    torch = pytest.importorskip("torch")
    from refbilevel.frontends.torch import layer, solve_qp

    call = layer(layer_problem().at(np.ones(4)))
    assert torch.autograd.gradcheck(call, (torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True),))
    blocks = [torch.tensor(b, requires_grad=True) for b in qp_blocks()]

    def symmetric(P, *rest):
        return solve_qp(0.5 * (P + P.T), *rest)

    assert torch.autograd.gradcheck(symmetric, blocks)
    q = torch.stack([blocks[1].detach(), 2 * blocks[1].detach()]).requires_grad_()
    y, mu, nu = solve_qp(blocks[0], q, *blocks[2:])
    assert y.shape == (2, 4) and mu.shape == (2, 3) and nu.shape == (2, 1)
    y.sum().backward()
    assert blocks[0].grad.shape == (4, 4) and q.grad.shape == (2, 4)


@pytest.mark.torch
def test_a_loop_with_a_layer_inside_learns_its_target():
    torch = pytest.importorskip("torch")
    from refbilevel.frontends.torch import layer

    torch.manual_seed(0)
    call = layer(rb.BilevelLayer(layer_problem()))
    model = torch.nn.Linear(5, 4).double()
    inputs = torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        target = call(torch.nn.Linear(5, 4).double()(inputs))[1]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = ((call(model(inputs))[1] - target) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.torch
def test_no_gradient_without_a_derivative():
    torch = pytest.importorskip("torch")
    from refbilevel.frontends.torch import layer

    flat = rb.LayerProblem(
        n=1, m=1, k=1, f=lambda x, y, z: 0.5 * y @ y, f_x=lambda x, y, z: 0 * x, f_y=lambda x, y, z: y.copy(),
        g=lambda x, y, z: 0.5 * (y - z) @ (y - z), g_y=lambda x, y, z: y - z, g_yy=lambda x, y, z: np.eye(1), g_xy=lambda x, y, z: np.zeros((1, 1)),
    )  # fmt: skip
    z = torch.ones(1, dtype=torch.float64, requires_grad=True)
    x, y = layer(rb.BilevelLayer(flat))(z)
    with pytest.raises(StatusError, match="strict"):
        y.sum().backward()


@pytest.mark.torch
def test_a_combinatorial_layer_passes_its_estimator_back():
    torch = pytest.importorskip("torch")
    from refbilevel.frontends.torch import layer
    from refbilevel.layers.combinatorial import CombinatorialLayer, TopK

    inner = CombinatorialLayer(TopK(4, 1), tau=2.0)
    C = torch.tensor([[3.0, 1, 2, 4], [1, 2, 3, 4]], dtype=torch.float64, requires_grad=True)
    y_bar = torch.tensor([[0.0, 5, 0, 0], [5, 0, 0, 0]], dtype=torch.float64)
    (layer(inner)(C) * y_bar).sum().backward()
    np.testing.assert_array_equal(C.grad.numpy(), inner.batch_vjp(C.detach().numpy(), y_bar.numpy()))


@pytest.mark.jax
def test_check_grads_jit_and_vmap():
    jax = pytest.importorskip("jax")
    from jax.test_util import check_grads

    from refbilevel.frontends.jax import _scope, layer, solve_qp

    with _scope(jax)():
        call = layer(rb.BilevelLayer(layer_problem()))
        z = jax.numpy.array([0.3, -0.2, 0.5, 0.1])
        check_grads(call, (z,), order=1, modes=["rev"])
        check_grads(jax.jit(call), (z,), order=1, modes=["rev"])
        Z = jax.numpy.stack([z, -z])
        x, y = jax.vmap(call)(Z)
        np.testing.assert_allclose(x[1], call(-z)[0], rtol=1e-12)
        blocks = [jax.numpy.asarray(b) for b in qp_blocks()]
        check_grads(lambda P, *rest: solve_qp(0.5 * (P + P.T), *rest), blocks, order=1, modes=["rev"])
        check_grads(lambda q: solve_qp(blocks[0], q)[0], (blocks[1],), order=1, modes=["rev"])
