"""Runs on backends: what they cost, within a budget, and nothing that was paid for is lost."""

from qiskit_metainit.deployment.channel import Channel, ChannelError
from qiskit_metainit.deployment.deployment import LEDGER, Deployment
from qiskit_metainit.deployment.expectation import SampledEstimator
from qiskit_metainit.deployment.isa import NotISAError
from qiskit_metainit.deployment.layout import LayoutSafeEstimator, LayoutSafeSampler, layout_safe, shot_sampler
from qiskit_metainit.deployment.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.local import LocalChannel
from qiskit_metainit.deployment.naming import named_backend, simulated
from qiskit_metainit.deployment.optimizers import OPTIMIZERS, make_optimizer
from qiskit_metainit.deployment.plan import Plan
from qiskit_metainit.deployment.program import Run
from qiskit_metainit.deployment.runtime import RuntimeChannel
from qiskit_metainit.deployment.spending import RunInterruptedError
from qiskit_metainit.deployment.workload import BudgetError, ShotSchedule

__all__ = [
    "LEDGER",
    "OPTIMIZERS",
    "BudgetError",
    "Channel",
    "ChannelError",
    "Deployment",
    "LayoutSafeEstimator",
    "LayoutSafeSampler",
    "Ledger",
    "LedgerError",
    "LocalChannel",
    "NotISAError",
    "Plan",
    "Run",
    "RunInterruptedError",
    "RuntimeChannel",
    "SampledEstimator",
    "ShotSchedule",
    "layout_safe",
    "make_optimizer",
    "named_backend",
    "shot_sampler",
    "simulated",
]
