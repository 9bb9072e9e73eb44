"""How a run goes on: through the channel that it began with, in its batch or session."""

from __future__ import annotations

from qiskit.providers import BackendV2

from qiskit_metainit.deployment.channels.channel import Channel
from qiskit_metainit.deployment.channels.estimates import same
from qiskit_metainit.deployment.channels.local import Ended
from qiskit_metainit.deployment.channels.naming import recorded_channel
from qiskit_metainit.deployment.channels.runtime import RuntimeChannel
from qiskit_metainit.deployment.spending.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.spending.records import RunRecord


def channel_of(record: RunRecord, backend: BackendV2, given: Channel | None) -> Channel:
    """Return the channel that a run goes on through.

    Args:
        record: of the run.
        backend: that it runs on.
        given: by the user, or None for one that is as the run's was.

    Returns:
        One to no backend if the run has ended.

    Raises:
        LedgerError: if the one that is given measures otherwise, or this client does not take the recorded options.
    """
    recorded = record.settings["channel"]
    if record.state != "running":
        return Ended(recorded)
    if given is not None:
        began, came = recorded.get("estimator"), given.record().get("estimator")
        if not same(began, came):
            raise LedgerError(
                f"The run {record.id} needs a channel whose estimator has the options that it began with, {began}, "
                f"but {came} came. Resume without channel=..., which takes them from the ledger."
            )
        return given
    try:
        return recorded_channel(backend, recorded)
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"The run {record.id} needs the client's options that it began with, but this client does not take "
            f"them: {error} Resume with the client's version that is recorded, or with a channel=... of your own."
        ) from error


def rejoin(ledger: Ledger, run: str, channel: Channel) -> None:
    """Go on with the run's batch or session, which is open still if its process was killed; note a new one."""
    record = ledger.record(run)
    if not isinstance(channel, RuntimeChannel) or record.state != "running":
        return
    mode, known = channel.record()["mode"], record.notes.get("session", {})
    if known.get("mode") == mode:
        channel.rejoin(known["id"])
    channel.opened = lambda found: ledger.note(run, session={"mode": mode, "id": found})
