"""Pictures of results, one file a picture. Frames and summaries in, figures out; nothing here knows the engine.

Figures are built without pyplot, so no display is needed and nothing is global.
"""

from sim.plots.calibration import calibration_figure
from sim.plots.canvas import FAINT, INK, SERIES, save
from sim.plots.capacity import capacity_figure
from sim.plots.compare import compare_figure
from sim.plots.intervals import intervals_figure
from sim.plots.latency import latency_figure
from sim.plots.runs import runs_figure
from sim.plots.step_time import step_time_figure
from sim.plots.sweep import sweep_figure
from sim.plots.timeline import timeline_figure
from sim.plots.tornado import tornado_figure
from sim.plots.trace import trace_figure
from sim.plots.validation import (
    validation_curves_figure,
    validation_latencies_figure,
    validation_requests_figure,
)
from sim.plots.warm_up import warm_up_figure

__all__ = [
    "FAINT", "INK", "SERIES", "calibration_figure", "capacity_figure", "compare_figure", "intervals_figure",
    "latency_figure", "runs_figure", "save", "step_time_figure", "sweep_figure", "timeline_figure", "tornado_figure",
    "trace_figure", "validation_curves_figure", "validation_latencies_figure", "validation_requests_figure",
    "warm_up_figure",
]  # fmt: skip
