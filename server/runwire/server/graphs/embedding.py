"""The store's embedding: what turns texts into vectors, named in `langgraph.json`."""

import asyncio
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings, get_text_at_path, tokenize_path
from langgraph.store.base.embed import EmbeddingsLambda

from runwire.server.graphs.config import ConfigError, GraphEntry, GraphsConfig
from runwire.server.graphs.loading import GraphLoadError, load_attribute, put_on_path
from runwire.server.model.items import (
    MAX_TEXT_CHARACTERS,
    MAX_TEXTS,
    StoreIndex,
    TextsError,
    Vector,
    wrong_path,
)

_KEY = "store.index.embed"
_FILE_OR_MODULE = re.compile(r"(?P<source>.+\.py|.*/.*|\w+(\.\w+)+):(?P<attribute>[^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class Texts:
    """What is to be embedded."""

    documents: Sequence[str] = ()
    queries: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Meanings:
    """The vectors of texts. One without a direction is left out: nothing is near to it."""

    documents: Mapping[str, Vector] = field(default_factory=dict)
    queries: Mapping[str, Vector] = field(default_factory=dict)

    def of(self, texts: Mapping[str, str]) -> dict[str, Vector]:
        """Return the vectors of an item's texts, by path."""
        return {
            path: self.documents[text] for path, text in texts.items() if text in self.documents
        }


class Embedder:
    """Turns texts into vectors by the configuration's embedding, once that is loaded. Runs user
    code."""

    def __init__(self, config: GraphsConfig, index: StoreIndex) -> None:
        self.index = index
        self._config = config
        self._embeddings: Embeddings | None = None

    async def load(self) -> None:
        """Import the embedding. Raises `ConfigError`."""
        self._embeddings = await asyncio.to_thread(self._load)

    def _load(self) -> Embeddings:
        named = _FILE_OR_MODULE.fullmatch(self.index.embed)
        try:
            if named is None:
                return ensure_embeddings(self.index.embed)
            put_on_path(self._config.directories)
            entry = GraphEntry(graph_id=_KEY, **named.groupdict())
            found: Any = load_attribute(entry, self._config)
        except GraphLoadError as error:
            message = str(error).removeprefix(f"graph {_KEY!r}: ")
            raise ConfigError(self._config.path, f"{_KEY}: {message}") from error
        except Exception as error:
            # "provider:model" is LangChain's to resolve, which fails in many ways.
            raise ConfigError(self._config.path, f"{_KEY}: {error}") from error
        if not callable(found) and not isinstance(found, Embeddings):
            what = f"{self.index.embed} is neither a function nor an Embeddings object"
            raise ConfigError(self._config.path, f"{_KEY}: {what}")
        return ensure_embeddings(found)

    def texts_of(self, value: Mapping[str, Any], paths: Sequence[str] | None) -> dict[str, str]:
        """Return the texts of an item's value to be embedded, by path; of the configured paths if
        there are none. Raises `TextsError`. Takes a while where the value is large."""
        texts: dict[str, str] = {}
        characters = 0
        for path in dict.fromkeys(self.index.fields if paths is None else paths):
            if wrong := wrong_path(path):
                raise TextsError(f"the path {path[:64]!r} {wrong}")
            found = get_text_at_path(dict(value), path if path == "$" else tokenize_path(path))
            characters += sum(map(len, found))
            if len(texts) + len(found) > MAX_TEXTS or characters > MAX_TEXT_CHARACTERS:
                raise TextsError(
                    f"more is to be found by its meaning than {MAX_TEXTS} texts of"
                    f" {MAX_TEXT_CHARACTERS} characters together"
                )
            for number, text in enumerate(found):
                texts[path if len(found) == 1 else f"{path}.{number}"] = text
        return texts

    async def aembed(self, texts: Texts) -> Meanings:
        """Return what texts mean. Raises `ValueError` for vectors that are none, and whatever the
        embedding raises."""
        documents, queries = list(dict.fromkeys(texts.documents)), dict.fromkeys(texts.queries)
        embeddings = self._loaded()
        vectors = await embeddings.aembed_documents(documents) if documents else []
        asked = [await embeddings.aembed_query(query) for query in queries]
        return Meanings(self._checked(documents, vectors), self._checked(queries, asked))

    def embed(self, texts: Texts) -> Meanings:
        """Do as `aembed` does."""
        embeddings = self._loaded()
        if isinstance(embeddings, EmbeddingsLambda) and not hasattr(embeddings, "func"):
            # A coroutine function, and whoever calls may be on a loop that waits for this.
            with ThreadPoolExecutor(1, "embedding") as pool:
                return pool.submit(asyncio.run, self.aembed(texts)).result()
        documents, queries = list(dict.fromkeys(texts.documents)), dict.fromkeys(texts.queries)
        vectors = embeddings.embed_documents(documents) if documents else []
        asked = [embeddings.embed_query(query) for query in queries]
        return Meanings(self._checked(documents, vectors), self._checked(queries, asked))

    def _loaded(self) -> Embeddings:
        assert self._embeddings is not None, "it is loaded at start"
        return self._embeddings

    def _checked(
        self, texts: Iterable[str], vectors: Sequence[Sequence[float]]
    ) -> dict[str, Vector]:
        wanted = list(texts)
        if len(vectors) != len(wanted):
            raise ValueError(
                f"the store's embedding gave {len(vectors)} vectors for {len(wanted)} texts"
            )
        found = {}
        for one, given in zip(wanted, vectors, strict=True):
            vector = tuple(map(float, given))
            if len(vector) != self.index.dims:
                raise ValueError(
                    f"the store's embedding gave a vector of {len(vector)} numbers, and"
                    f" store.index.dims is {self.index.dims}"
                )
            if not all(map(math.isfinite, vector)):
                raise ValueError("the store's embedding gave a vector with a number that is none")
            if any(vector):
                found[one] = vector
        return found
