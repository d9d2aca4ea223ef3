"""An embedding that needs no model: texts are near to each other if they have the same letters."""

from collections.abc import Sequence
from string import ascii_lowercase

from langchain_core.embeddings import Embeddings

DIMS = len(ascii_lowercase)


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return how often each text has each letter."""
    return [[float(text.lower().count(letter)) for letter in ascii_lowercase] for text in texts]


async def embed_async(texts: Sequence[str]) -> list[list[float]]:
    """Do as `embed` does."""
    return embed(texts)


class Letters(Embeddings):
    """The same, as LangChain has it."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents."""
        return embed(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return embed([text])[0]


letters = Letters()


def short(texts: Sequence[str]) -> list[list[float]]:
    """Return vectors of another length than is said."""
    return [[1.0, 2.0] for _ in texts]


def few(texts: Sequence[str]) -> list[list[float]]:
    """Return fewer vectors than there are texts."""
    return []


def strange(texts: Sequence[str]) -> list[list[float]]:
    """Return vectors with what is no number."""
    return [[float("nan")] * DIMS for _ in texts]


def breaks(texts: Sequence[str]) -> list[list[float]]:
    """Fail, with what nobody is to see."""
    raise RuntimeError("sk-SECRET")
