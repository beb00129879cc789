"""Recordings of real schedulers: how each framework describes its engine, its requests and its steps.

A framework is one file here, and one line in `FRAMEWORKS`.
"""

from __future__ import annotations

from sim.study.recordings.framework import Record
from sim.study.recordings.reading import Recording, read_lines, read_recording

__all__ = ["Record", "Recording", "read_lines", "read_recording"]
