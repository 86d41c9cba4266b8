"""Least loaded dispatch with the scaling rule of Llumnix, as INFaaS++ has it in the evaluation of Llumnix."""

from __future__ import annotations

from controller.serving.clusters.least_loaded import route
from controller.serving.clusters.llumnix import scale

__all__ = ["route", "scale"]
