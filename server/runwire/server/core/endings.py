"""How runs end, and what their threads do next: transactions on an open connection.

Every end goes through here, so that in one transaction the run's state, its last event, its
thread and the thread's queue move together.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
