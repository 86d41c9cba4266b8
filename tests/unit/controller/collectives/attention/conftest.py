"""The twin of the executors for attention, importable by its name: test files are no package."""

import importlib.util
import sys
from pathlib import Path

import pytest

from controller.collectives.attention.call import AttentionCall


def _load_twin():
    path = Path(__file__).with_name("attention_values.py")
    spec = importlib.util.spec_from_file_location("attention_values", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["attention_values"] = module
    spec.loader.exec_module(module)


_load_twin()


@pytest.fixture
def attention_call(group):
    """``attention_call(ranks, tokens)``: four heads on two of K and V, of eight columns, in fp32."""

    def make(ranks: int, tokens: int, **changes) -> AttentionCall:
        values = {"heads": 4, "kv_heads": 2, "head_dim": 8, "dtype": "fp32"} | changes
        return AttentionCall(group(ranks), tokens, **values)

    return make
