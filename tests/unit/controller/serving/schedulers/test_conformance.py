"""Every scheduler of the table passes the suite, but the one that never decodes."""

import pytest

from controller.conformance.scheduler_suite import SchedulerSuite
from controller.serving.schedulers.table import SCHEDULERS


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "prefill_only"])
class TestSchedulersOfTheTable(SchedulerSuite):
    @pytest.fixture(autouse=True)
    def _named(self, name: str) -> None:
        type(self).scheduler = name
