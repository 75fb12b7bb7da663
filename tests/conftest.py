"""Shared by all tests: hypothesis profiles; the long-running ones carry the marks slow or long."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core: BLAS threads of several workers would only fight
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class CompileTime:
    """Says at the end how long Numba compiled, over all workers: what a cold cache costs the suite."""

    def __init__(self):
        from numba.core.event import TimingListener, register

        self.listener, self.workers = TimingListener(), 0.0
        register("numba:compile", self.listener)

    @property
    def seconds(self):
        return self.workers + (self.listener.duration if self.listener.done else 0.0)

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["compile_seconds"] = self.seconds

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.workers += getattr(node, "workeroutput", {}).get("compile_seconds", 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f"Numba compiled for {self.seconds:.1f} s")


def pytest_configure(config):
    config.pluginmanager.register(CompileTime(), "compile_time")
