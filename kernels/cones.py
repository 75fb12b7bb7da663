"""Projections on dual cones and the spectra of their derivatives: z = Pi_{K*}(u), D = DPi_{K*}(u) = Q diag(d) Q'.

D is symmetric with 0 <= d <= 1 for every convex cone, so each kernel answers
    z (k,)   the projection,
    d (k,)   eigenvalues of D, and e = 1 - d without cancellation,
    Q        orthonormal eigenvectors: the blocks in order, each row-major k_i x k_i, flat,
    margin   distance from u to the set where Pi is not differentiable (to first order); 0 on a kink,
             where one element of the Clarke Jacobian is given.
Row order and orientation are those of Clarabel and of CVXPY's cone programs: exponential cones are triples (x, y, z) with
y e^{x/y} <= z; power cones (x_1..x_k, z) with prod x_i^{a_i} >= |z|; semidefinite cones are svec of the upper triangle by
columns with off-diagonals times sqrt 2.

The exponential root equation is that of H. A. Friberg, "Projection onto the exponential cone: a univariate root-finding
problem", Optimization Methods and Software (2023); the power cone's that of L. T. K. Hien, "Differential properties of
Euclidean projection onto power cone", Math. Methods of Operations Research 82 (2015).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def nonnegative(u):
    """z = max(u, 0), d = [u > 0], e = 1 - d; u (k,)."""
    z, d = np.empty_like(u), np.empty_like(u)
    for i in range(u.size):
        z[i], d[i] = (u[i], 1.0) if u[i] > 0.0 else (0.0, 0.0)
    return z, d, 1.0 - d


@njit(cache=True)
def second_order(u, sizes):
    """K = {(t, v): |v| <= t}: D has eigenvalues 1, 0 along (1, +-v/|v|) and (1 + t/|v|)/2 across; u (sum sizes,)."""
    z, d, e = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    Q = np.zeros(np.sum(sizes * sizes))
    margin, o, p = np.inf, 0, 0
    for k in sizes:
        m = _second_order_block(u[o : o + k], z[o : o + k], d[o : o + k], e[o : o + k], Q[p : p + k * k].reshape(k, k))
        margin = min(margin, m)
        o, p = o + k, p + k * k
    return z, d, e, Q, margin


@njit(cache=True)
def _second_order_block(u, z, d, e, Q):
    """One second-order cone, outputs in place; the eigenvectors across come from the Householder map of e_1 to v/|v|."""
    k, t = u.size, u[0]
    norm = np.sqrt(np.sum(u[1:] ** 2))
    if norm <= abs(t):
        inside = t > 0.0 or (t == 0.0 and norm == 0.0)
        d[:] = 1.0 if inside else 0.0
        e[:] = 1.0 - d
        z[:] = d * u
        for i in range(k):
            Q[i, i] = 1.0
        return (abs(t) - norm) / np.sqrt(2.0)
    r = np.sqrt(0.5)
    w = u[1:] / norm
    sign = 1.0 if w[0] >= 0.0 else -1.0
    h = w.copy()
    h[0] += sign  # reflection -sign (I - h h' / h_0 sign) maps e_1 to w
    scale = 1.0 / (1.0 + abs(w[0]))
    z[0] = 0.5 * (t + norm)
    z[1:] = z[0] * w
    d[0], e[0], d[1], e[1] = 1.0, 0.0, 0.0, 1.0
    d[2:] = 0.5 * (norm + t) / norm
    e[2:] = 0.5 * (norm - t) / norm
    Q[0, 0], Q[0, 1] = r, r
    for i in range(k - 1):
        Q[1 + i, 0], Q[1 + i, 1] = r * w[i], -r * w[i]
        for j in range(1, k - 1):
            Q[1 + i, 1 + j] = (1.0 if i == j else 0.0) - scale * h[i] * h[j]
    return min(norm - t, norm + t) / np.sqrt(2.0)


@njit(cache=True)
def semidefinite(u, orders):
    """svec cone: with S = V diag(l) V', D[H] = V (B o V'HV) V', B_ij = 1, 0 or l+/(l+ + |l-|); u (sum k(k+1)/2,)."""
    z, d, e = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    total = 0
    for k in orders:
        total += (k * (k + 1) // 2) ** 2
    Q = np.zeros(total)
    margin, o, p = np.inf, 0, 0
    for k in orders:
        t = k * (k + 1) // 2
        m = _semidefinite_block(k, u[o : o + t], z[o : o + t], d[o : o + t], e[o : o + t], Q[p : p + t * t].reshape(t, t))
        margin = min(margin, m)
        o, p = o + t, p + t * t
    return z, d, e, Q, margin


@njit(cache=True)
def _semidefinite_block(k, u, z, d, e, Q):
    """One semidefinite cone of order k, outputs in place (Loewner's derivative in svec coordinates)."""
    root = np.sqrt(2.0)
    S = np.empty((k, k))
    for j in range(k):
        for i in range(j + 1):
            S[i, j] = u[j * (j + 1) // 2 + i] / (1.0 if i == j else root)
            S[j, i] = S[i, j]
    values, V = np.linalg.eigh(S)
    positive = np.maximum(values, 0.0)
    Z = (V * positive) @ V.T
    for j in range(k):
        for i in range(j + 1):
            z[j * (j + 1) // 2 + i] = Z[i, j] * (1.0 if i == j else root)
    for b in range(k):
        for a in range(b + 1):
            c = b * (b + 1) // 2 + a
            _loewner(values[a], values[b], c, d, e)
            for j in range(k):
                for i in range(j + 1):
                    entry = V[i, a] * V[j, b] + V[j, a] * V[i, b]
                    Q[j * (j + 1) // 2 + i, c] = entry * 0.5 * (1.0 if i == j else root) * (1.0 if a == b else root)
    return np.min(np.abs(values))


@njit(cache=True)
def _loewner(low, high, c, d, e):
    """d[c] = (high+ - low+)/(high - low), 1 or 0 when both have one sign; in place."""
    if low > 0.0 and high > 0.0:
        d[c], e[c] = 1.0, 0.0
    elif low <= 0.0 and high <= 0.0:
        d[c], e[c] = 0.0, 1.0
    else:
        plus, minus = max(low, high), -min(low, high)
        d[c], e[c] = plus / (plus + minus), minus / (plus + minus)


@njit(cache=True)
def exponential(u, count):
    """`count` exponential cones in triples; Pi_{K*}(u) = -(v - Pi_K(v)) and D_{K*}(u) = I - D_K(v) at v = -u; u (3 count,)."""
    z, d, e = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    Q = np.zeros(9 * count)
    margin = np.inf
    for i in range(count):
        o = 3 * i
        block = slice(o, o + 3)
        m = _exponential_block(-u[o], -u[o + 1], -u[o + 2], z[block], e[block], d[block], Q[9 * i : 9 * i + 9].reshape(3, 3))
        margin = min(margin, m)
    return z, d, e, Q, margin


@njit(cache=True)
def _exponential_block(x, y, z, residual, d, e, Q):
    """At v = (x, y, z): residual = Pi_K(v) - v, spectrum of D_K(v) in place; returns the margin."""
    if y > 0.0 and y * np.exp(min(x / y, 700.0)) <= z:
        g = np.exp(x / y)
        return _trivial(0.0, 0.0, 0.0, 1.0, residual, d, e, Q, (z - y * g) / np.sqrt(1.0 + g * g * (1.0 + (1.0 - x / y) ** 2)))
    if x > 0.0 and x * np.exp(min(y / x - 1.0, 700.0)) <= -z:
        g = np.exp(y / x - 1.0)
        return _trivial(-x, -y, -z, 0.0, residual, d, e, Q, (-z - x * g) / np.sqrt(1.0 + g * g * (1.0 + (1.0 - y / x) ** 2)))
    if x <= 0.0 and y <= 0.0:
        m = min(abs(x), abs(y), abs(z))
        if x == 0.0 and z <= 0.0:
            return _trivial(0.0, -y, -z, 0.0, residual, d, e, Q, m)
        _trivial(0.0, -y, max(-z, 0.0), 1.0, residual, d, e, Q, m)
        d[1], e[1] = 0.0, 1.0
        if z <= 0.0:
            d[2], e[2] = 0.0, 1.0
        return m
    return _exponential_surface(x, y, z, exponential_root(x, y, z), residual, d, e, Q)


@njit(cache=True)
def _trivial(a, b, c, eigenvalue, residual, d, e, Q, margin):
    """Where D is a multiple of the identity, in place; returns `margin`."""
    residual[0], residual[1], residual[2] = a, b, c
    for i in range(3):
        d[i], e[i], Q[i, i] = eigenvalue, 1.0 - eigenvalue, 1.0
    return margin


@njit(cache=True)
def exponential_root(x, y, z):
    """The root rho of ((rho-1)x + y) e^rho - (x - rho y) e^-rho - (rho(rho-1)+1) z, by bracketed Newton."""
    if x > 0.0:
        lo = 1.0 - y / x
        hi = x / y if y > 0.0 else np.inf
    else:
        lo, hi = -np.inf, x / y
    step = 1.0
    while np.isinf(hi):
        if _exponential_h(lo + step, x, y, z)[0] > 0.0:
            hi = lo + step
        step *= 2.0
    while np.isinf(lo):
        if _exponential_h(hi - step, x, y, z)[0] < 0.0:
            lo = hi - step
        step *= 2.0
    rho, last, width = 0.5 * (lo + hi), hi - lo, hi - lo
    for _ in range(300):
        h, slope = _exponential_h(rho, x, y, z)
        if h == 0.0:
            break
        if h < 0.0:
            lo = rho
        else:
            hi = rho
        newton = rho - h / slope if slope > 0.0 else np.inf
        if not (lo < newton < hi) or abs(newton - rho) > 0.5 * last:
            newton = 0.5 * (lo + hi)
        last, width = width, abs(newton - rho)
        if width <= 2e-16 * (1.0 + abs(rho)):
            break
        rho = newton
    return rho


@njit(cache=True)
def _exponential_h(rho, x, y, z):
    """(h, dh/drho), both times e^{-|rho|}."""
    up, down = np.exp(rho - abs(rho)), np.exp(-rho - abs(rho))
    flat = np.exp(-abs(rho))
    s, t = (rho - 1.0) * x + y, x - rho * y
    return s * up - t * down - (rho * (rho - 1.0) + 1.0) * z * flat, (x + s) * up + (t + y) * down - (2.0 * rho - 1.0) * z * flat


@njit(cache=True)
def _exponential_surface(x, y, z, rho, residual, d, e, Q):
    """D = a a' + theta c c' with a along Pi_K(v), n along v - Pi_K(v), c = n x a; in place, returns min(|Pi|, |v - Pi|)."""
    q = rho * (rho - 1.0) + 1.0
    s, t = max(((rho - 1.0) * x + y) / q, 0.0), max((x - rho * y) / q, 0.0)
    up, down = np.exp(min(rho, 0.0)), np.exp(min(-rho, 0.0))  # the generator is scaled by e^{-rho} if rho > 0, the normal by e^rho if < 0
    a = np.array([rho * down, down, up])
    n = np.array([up, (1.0 - rho) * up, -down])
    residual[0], residual[1] = -t, -t * (1.0 - rho)
    residual[2] = t * np.exp(-rho) if rho >= 0.0 else s * np.exp(rho) - z
    size_a, size_n = np.sqrt(np.sum(a * a)), np.sqrt(np.sum(n * n))
    beta2 = (size_n / size_a) ** 2  # e^{2 rho} |(1, 1-rho, -e^-rho)|^2 / |(rho, 1, e^rho)|^2, both scalings cancelling
    a, n = a / size_a, n / size_n
    Q[:, 0], Q[:, 2] = a, n
    Q[0, 1], Q[1, 1], Q[2, 1] = n[1] * a[2] - n[2] * a[1], n[2] * a[0] - n[0] * a[2], n[0] * a[1] - n[1] * a[0]
    weight = s + t / beta2
    d[0], d[1], d[2] = 1.0, s / weight, 0.0
    e[0], e[1], e[2] = 0.0, t / beta2 / weight, 1.0
    height = s * np.exp(rho) if rho < 0.0 else z + t * np.exp(-rho)
    return min(np.sqrt(s * s * (rho * rho + 1.0) + height * height), np.sqrt(np.sum(residual * residual)))


@njit(cache=True)
def power(u, exponents, sizes):
    """Power cones {prod x_i^a_i >= |z|} of `sizes` k+1; `exponents` holds the a of each, flat (sum of sizes - 1,)."""
    z, d, e = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    Q = np.zeros(np.sum(sizes * sizes))
    margin, o, p, c = np.inf, 0, 0, 0
    for k in sizes:
        point, D, m = power_projection(-u[o : o + k], exponents[c : c + k - 1])
        z[o : o + k] = point + u[o : o + k]
        values, V = np.linalg.eigh(0.5 * (D + D.T))
        e[o : o + k] = np.minimum(np.maximum(values, 0.0), 1.0)
        d[o : o + k] = 1.0 - e[o : o + k]
        Q[p : p + k * k] = V.copy().reshape(k * k)
        margin = min(margin, m)
        o, p, c = o + k, p + k * k, c + k - 1
    return z, d, e, Q, margin


@njit(cache=True)
def power_projection(v, a):
    """(Pi_K(v), D_K(v), margin) for one power cone with exponents a (k,); v (k + 1,)."""
    k = a.size
    x, A, sign = v[:k], abs(v[k]), 1.0 if v[k] >= 0.0 else -1.0
    inner = np.exp(np.sum(a * np.log(x))) if np.all(x > 0.0) else 0.0
    if np.all(x >= 0.0) and inner >= A:
        slope = np.sqrt(1.0 + np.sum((a * inner / x) ** 2)) if inner > 0.0 else 1.0
        return v.copy(), np.eye(k + 1), (inner - A) / slope
    outer = np.exp(np.sum(a * np.log(-x / a))) if np.all(x < 0.0) else 0.0
    if np.all(x <= 0.0) and outer >= A:
        slope = np.sqrt(1.0 + np.sum((a * outer / x) ** 2)) if outer > 0.0 else 1.0
        return np.zeros(k + 1), np.zeros((k + 1, k + 1)), (outer - A) / slope
    if A == 0.0:
        return _power_face(x, a)
    return _power_surface(x, A, sign, a)


@njit(cache=True)
def _power_face(x, a):
    """z = 0 outside the cone and its polar: Pi = (x+, 0), D = diag([x > 0], dz)."""
    k = a.size
    D = np.zeros((k + 1, k + 1))
    point = np.zeros(k + 1)
    negative, log_c = 0.0, 0.0
    for i in range(k):
        if x[i] > 0.0:
            point[i], D[i, i] = x[i], 1.0
            log_c += a[i] * np.log(x[i])
        else:
            negative += a[i]
            log_c += a[i] * (np.log(a[i]) - np.log(-x[i])) if x[i] < 0.0 else 0.0
    if abs(negative - 0.5) < 1e-14:
        D[k, k] = 1.0 / (1.0 + np.exp(-2.0 * log_c))
    elif negative < 0.5:
        D[k, k] = 1.0
    return point, D, np.min(np.abs(x))


@njit(cache=True)
def _power_g(x, A, r, a, g, w):
    """g_i = (x_i + w_i)/2 with w_i = sqrt(x_i^2 + 4 a_i (A - r) r), without cancellation; in place."""
    for i in range(a.size):
        c = 4.0 * a[i] * (A - r) * r
        w[i] = np.sqrt(x[i] * x[i] + c)
        g[i] = 0.5 * (x[i] + w[i]) if x[i] > 0.0 else 0.5 * c / (w[i] - x[i])


@njit(cache=True)
def _power_root(x, A, a, g, w):
    """The root r in (0, A) of sum a_i log g_i(r) = log r, by bracketed Newton; g and w at the root in place."""
    lo, hi, r = 0.0, A, 0.5 * A
    for _ in range(300):
        _power_g(x, A, r, a, g, w)
        value, slope = -np.log(r), -1.0 / r
        for i in range(a.size):
            value += a[i] * np.log(g[i])
            slope += a[i] * a[i] * (A - 2.0 * r) / (g[i] * w[i])
        if value == 0.0:
            break
        if value > 0.0:
            lo = r
        else:
            hi = r
        step = r - value / slope
        if not (lo < step < hi):
            step = 0.5 * (lo + hi) if lo > 0.1 * hi else max(np.sqrt(lo * hi), 1e-3 * hi)
        if abs(step - r) <= 1e-16 * r:
            break
        r = step
    _power_g(x, A, r, a, g, w)
    return r


@njit(cache=True)
def _power_surface(x, A, sign, a):
    """Pi = (g, sign r) and its derivative by the implicit function theorem on the root equation."""
    k = a.size
    g, w = np.empty(k), np.empty(k)
    r = _power_root(x, A, a, g, w)
    T = np.sum(a * a / (g * w))
    L = 1.0 / r - (A - 2.0 * r) * T
    r_x, r_A = a / w / L, r * T / L
    D = np.empty((k + 1, k + 1))
    for i in range(k):
        for j in range(k):
            D[i, j] = ((g[i] if i == j else 0.0) + a[i] * (A - 2.0 * r) * r_x[j]) / w[i]
        D[i, k] = sign * a[i] * (r + (A - 2.0 * r) * r_A) / w[i]
        D[k, i] = sign * r_x[i]
    D[k, k] = r_A
    point = np.append(g, sign * r)
    distance = np.sqrt(np.sum((g - x) ** 2) + (A - r) ** 2)
    return point, D, min(np.sqrt(np.sum(point**2)), distance)
