"""Rows of samples as numpy columns: `from wedsync_apm.metrics.blocks import …` for what is pure,
`wedsync_apm.metrics.blocks.store.read_columns` to fetch them."""

from wedsync_apm.metrics.blocks.model import Columns as Columns
from wedsync_apm.metrics.blocks.model import Context as Context
from wedsync_apm.metrics.blocks.model import last_wins as last_wins
