"""A budget and the ledger of what it was spent on: nothing is paid twice, nothing that was paid for is lost."""
