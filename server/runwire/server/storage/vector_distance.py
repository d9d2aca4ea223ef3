"""How far two vectors are from each other, in SQL, for SQLite: by sqlite-vec where it is installed
and Python can load it, else by a function of our own with the same name, which is slower.

A vector is the bytes of its numbers, as floats of 32 bits. It is not all 0.
"""

import importlib
import importlib.util
import math
import sqlite3
from array import array
from collections.abc import Sequence
from operator import mul

NAME = "vec_distance_cosine"


def add_distance(connection: sqlite3.Connection) -> None:
    """Give a connection the function `vec_distance_cosine(vector, vector)`."""
    connection.create_function(NAME, 2, distance, deterministic=True)
    # Python's own builds can load extensions; others, such as pyenv's, often cannot.
    if hasattr(connection, "enable_load_extension") and importlib.util.find_spec("sqlite_vec"):
        connection.enable_load_extension(True)
        importlib.import_module("sqlite_vec").load(connection)
        connection.enable_load_extension(False)


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector as it is stored: its direction alone, with a length of 1."""
    length = math.hypot(*vector)
    return array("f", [number / length for number in vector]).tobytes()


def distance(left: bytes, right: bytes) -> float:
    """Return one less the cosine of the angle between two vectors that are stored."""
    return float(1 - sum(map(mul, array("f", left), array("f", right))))
