"""Runs on backends: what they cost, within a budget, and nothing that was paid for is lost."""

from qiskit_metainit.deployment.adapters.expectation import SampledEstimator
from qiskit_metainit.deployment.adapters.isa import NotISAError
from qiskit_metainit.deployment.adapters.layout import LayoutSafeEstimator, LayoutSafeSampler, layout_safe, shot_sampler
from qiskit_metainit.deployment.channels.channel import Channel, ChannelError
from qiskit_metainit.deployment.channels.local import LocalChannel
from qiskit_metainit.deployment.channels.naming import named_backend, simulated
from qiskit_metainit.deployment.channels.runtime import RuntimeChannel
from qiskit_metainit.deployment.deployment import LEDGER, Deployment
from qiskit_metainit.deployment.optimizers import OPTIMIZERS, make_optimizer
from qiskit_metainit.deployment.plan import Plan
from qiskit_metainit.deployment.program import Run
from qiskit_metainit.deployment.spending.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.spending.spender import RunInterruptedError
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
