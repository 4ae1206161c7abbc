"""All policies by the name of their task."""

from __future__ import annotations

from tests.miniwob.arranging import ARRANGING
from tests.miniwob.clicking import CLICKING
from tests.miniwob.desk import Policy
from tests.miniwob.filling import FILLING

POLICIES: dict[str, Policy] = dict(sorted((ARRANGING | CLICKING | FILLING).items()))
