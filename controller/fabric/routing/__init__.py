"""Which of several equal paths a flow takes (`table.py`): one file a policy, chosen by the option ``routing``."""
