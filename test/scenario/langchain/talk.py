"""LangChain's PGVector store: adds, finds with filters and scores, replaces, deletes. Prints what it saw as JSON."""
import hashlib
import json
import sys

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_postgres import PGVector


class Words(Embeddings):
    """Counts words, each in the place that its hash gives."""

    def embed_query(self, text):
        vector = [0.0] * 64
        for word in text.lower().split():
            vector[hashlib.md5(word.encode()).digest()[0] % 64] += 1
        return vector

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def ids(documents):
    return [document.id for document in documents]


store = PGVector(embeddings=Words(), collection_name="animals", connection=sys.argv[1], use_jsonb=True)
texts = {"cat": ("cats purr softly", 4), "dog": ("dogs bark at cats", 4), "bird": ("birds sing loudly", 2)}
store.add_documents([Document(page_content=text, metadata={"legs": legs}) for text, legs in texts.values()], ids=list(texts))
seen = {"nearest": ids(store.similarity_search("birds sing", k=1)),
        "filtered": ids(store.similarity_search("birds sing cats", k=3, filter={"legs": {"$gt": 3}})),
        "either": sorted(ids(store.similarity_search("x", k=3, filter={"$or": [{"legs": 2}, {"legs": {"$in": [3]}}]}))),
        "equal": round(store.similarity_search_with_score("cats purr softly", k=1)[0][1], 6),
        "diverse": ids(store.max_marginal_relevance_search("cats", k=2, fetch_k=3))}
store.add_documents([Document(page_content="birds are silent now", metadata={"legs": 2})], ids=["bird"])
seen["replaced"] = store.similarity_search("birds are silent now", k=1)[0].page_content
store.delete(["cat"])
seen["left"] = sorted(ids(store.similarity_search("cats", k=5)))
print(json.dumps(seen))
