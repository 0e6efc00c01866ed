// #/search: try a query on a collection, and see what each part of the search made of every hit.
import {get, post} from "./api.js";
import {bar, duration, empty, figure, figures, h, number, path, replace, section} from "./dom.js";

const MODES = {auto: "Text and vector", text: "Text alone", vector: "Vector alone"};

// The server marks words with <b> and escapes the rest; taken apart here, so that nothing of it is ever read as markup.
function highlighted(text) {
  const plain = (part) =>
    part
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&quot;", '"')
      .replaceAll("&#39;", "'")
      .replaceAll("&amp;", "&");
  return text.split(/<b>(.*?)<\/b>/s).map((part, index) => (index % 2 ? h("mark", null, plain(part)) : plain(part)));
}

function explained(hit, most) {
  const {vector_rank: vectorRank, distance, text_rank: textRank, text_score: textScore} = hit.explain ?? {};
  const row = (name, rank, score, share, kind) => [
    h("dt", null, name),
    h("dd", null, rank === undefined ? "not found" : "rank " + number(rank)),
    h("dd", {class: "faint"}, score),
    h("dd", null, rank !== undefined && bar(share, kind)),
  ];
  return h(
    "dl",
    {class: "parts"},
    h("dt", null, "Score"),
    h("dd", null, number(hit.score)),
    h("dd", {class: "faint"}, "together"),
    h("dd", null, bar(hit.score / most.score)),
    row("Text", textRank, textScore === undefined ? "" : "score " + number(textScore), textScore / most.text, "warn"),
    row("Vector", vectorRank, distance === undefined ? "" : "distance " + number(distance), 1 - distance, "second"),
  );
}

const hitPart = (hit, most) =>
  h(
    "article",
    {class: "hit"},
    h(
      "div",
      null,
      h("h3", null, hit.title || hit.source),
      h(
        "p",
        {class: "faint"},
        `${hit.source}, part ${number(hit.ordinal + 1)}`,
        Object.keys(hit.metadata ?? {}).length > 0 && "  " + JSON.stringify(hit.metadata),
      ),
      h("p", null, highlighted(hit.highlight ?? hit.content)),
    ),
    explained(hit, most),
  );

export async function show(parts, query, {signal, setQuery}) {
  const {collections} = await get("api/v1/collections", {}, signal);
  if (!collections.length)
    return [
      h("h1", null, "Search"),
      empty(
        "No collection yet. ",
        h("code", null, "cairn search create manual && cairn search add manual docs/"),
        " makes one and puts files into it.",
      ),
    ];
  const collection = collections.find((one) => one.name === parts[1]) ?? collections[0];
  const field = h("input", {
    type: "search",
    value: query.get("q") ?? "",
    "aria-label": "Query",
    placeholder: 'words, "a phrase", -without',
    autocomplete: "off",
  });
  const select = (label, options, chosen) =>
    h(
      "select",
      {"aria-label": label},
      Object.entries(options).map(([value, name]) => h("option", {value, selected: value === chosen}, name)),
    );
  const mode = select("Mode", MODES, query.get("mode") ?? "auto"),
    fusion = select("Fusion", {rrf: "by rank", weighted: "by score"}, query.get("fusion") ?? "rrf");
  const filter = h("input", {
    type: "text",
    value: query.get("filter") ?? "",
    "aria-label": "Filter on metadata, JSON",
    placeholder: '{"type": "eq", "key": "lang", "value": "en"}',
  });
  const results = h("div", {role: "region", "aria-label": "Results", "aria-live": "polite"});
  let shown = [];

  async function run(token) {
    if (!field.value.trim())
      return replace(
        results,
        empty(
          "Type what you look for. Each hit shows its rank and score by text and by vector, and how they were put together.",
        ),
      );
    setQuery({q: field.value, mode: mode.value, fusion: fusion.value, filter: filter.value});
    if (!token) shown = [];
    const started = performance.now();
    try {
      const answer = await post(
        `api/v1/collections/${encodeURIComponent(collection.name)}/search`,
        {
          query: field.value,
          mode: mode.value,
          fusion: fusion.value,
          k: 10,
          highlight: true,
          explain: true,
          page_token: token,
          filter: filter.value.trim() ? JSON.parse(filter.value) : undefined,
        },
        signal,
      );
      const took = performance.now() - started;
      shown.push(...answer.results);
      const most = {
        score: Math.max(...shown.map((hit) => hit.score)),
        text: Math.max(...shown.map((hit) => hit.explain?.text_score ?? 0)),
      };
      replace(
        results,
        h("p", {class: "faint"}, `${answer.mode} search, ${duration(took)}`),
        shown.length ? shown.map((hit) => hitPart(hit, most)) : empty("Nothing was found."),
        answer.next_page_token &&
          h("p", null, h("button", {type: "button", onclick: () => run(answer.next_page_token)}, "More")),
      );
    } catch (error) {
      if (error.name !== "AbortError")
        replace(
          results,
          h(
            "p",
            {class: "wrong", role: "alert"},
            error instanceof SyntaxError ? "The filter is no JSON: " + error.message : error.message,
          ),
        );
    }
  }
  run();
  return [
    h(
      "div",
      {class: "bar-of-tools"},
      h("h1", null, "Search"),
      h(
        "select",
        {"aria-label": "Collection", onchange: (event) => (location.hash = path("search", event.target.value))},
        collections.map((one) => h("option", {value: one.name, selected: one === collection}, one.name)),
      ),
    ),
    collection.description && h("p", {class: "lead"}, collection.description),
    figures(
      figure("Documents", number(collection.documents)),
      figure("Chunks", number(collection.chunks)),
      figure("Language", collection.language),
      figure(
        "Embedder",
        collection.embedder.kind,
        collection.embedder.dimension && `${collection.embedder.dimension} dimensions`,
      ),
      figure(
        "Vector index",
        collection.vector_index?.method ?? collection.vector_index ?? "none",
        collection.vector_index ? "" : "exact search",
      ),
    ),
    h(
      "form",
      {class: "bar-of-tools", role: "search", onsubmit: (event) => (event.preventDefault(), run())},
      h("span", {class: "grow"}, field),
      mode,
      fusion,
      h("button", {type: "submit", class: "main"}, "Search"),
      h("details", {open: Boolean(filter.value), class: "filter"}, h("summary", null, "Filter"), filter),
    ),
    results,
  ];
}
