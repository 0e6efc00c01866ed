// `cairn search`: options of the commands for documents and search.
#include "app/database_command.h"
#include "search/cli.h"

namespace cairn::app {
namespace {

using search::SearchOptions;

struct Command {
  CLI::App* app;
  std::shared_ptr<SearchOptions> options;
};

Command add_named(CommandLine& line, CLI::App* command,
                  int (*run)(const SearchOptions&, std::ostream&, std::ostream&)) {
  const auto options = on_database<SearchOptions>(line, command, run);
  command->add_option("name", options->name, "The collection's name")->required();
  return {command, options};
}

void add_create(CommandLine& line, CLI::App* search) {
  const auto [create, options] =
      add_named(line, line.add(search, "create", "Make a collection of documents"), search::run_create);
  create->add_option("--language", options->language, "Text search configuration of PostgreSQL")->capture_default_str();
  create
      ->add_option("--embedder", options->embedder,
                   "Whose vectors: none, own (documents bring theirs), or one of docs/reference/search.md")
      ->capture_default_str();
  create->add_option("--model", options->model, "The embedder's model");
  create->add_option("--base-url", options->base_url, "Where the embedder's endpoint is");
  create->add_option("--dimension", options->dimension, "Dimension of the vectors");
  create->add_option("--metric", options->metric, "cosine, l2 or ip")->capture_default_str();
  create->add_option("--index", options->index, "auto, none, hnsw or ivfflat")->capture_default_str();
  create->add_option("--chunk-size", options->chunk_size, "Characters a chunk at most")->capture_default_str();
  create->add_option("--chunk-overlap", options->chunk_overlap, "Characters that a chunk repeats at most")
      ->capture_default_str();
}

void add_add(CommandLine& line, CLI::App* search) {
  const auto [add, options] =
      add_named(line, line.add(search, "add", "Add files, or what has changed of them"), search::run_add);
  add->footer(
      "Files: text, Markdown, HTML, JSON lines (.jsonl: source, title, content, metadata, embedding); folders with "
      "such "
      "files;\n"
      "- is JSON lines from standard input. A file that is there already, unchanged, costs nothing.\n"
      "Example: cairn search add manual docs/ --bulk");
  add->add_option("files", options->files, "Files and folders")->required();
  add->add_flag("--bulk", options->bulk, "Drop the vector index first, and build it again at the end");
}

void add_query(CommandLine& line, CLI::App* search) {
  const auto [query, options] = add_named(line, line.add(search, "query", "Search a collection"), search::run_query);
  query->footer("Example: cairn search query manual \"how to vacuum\" --where lang=en --where \"year>=2020\"");
  query->add_option("query", options->query, "Words; \"quotes\", -word and or as websearch_to_tsquery has them")
      ->required();
  query->add_option("--mode", options->mode, "auto, text, vector or hybrid")->capture_default_str();
  query->add_option("--fusion", options->fusion, "Of hybrid: rrf or weighted")->capture_default_str();
  query->add_option("-k,--k", options->k, "How many")->capture_default_str();
  query->add_option("--where", options->where, "key=value on metadata, also != > >= < <=; several: all of them");
  query->add_flag("--explain", options->explain, "The rank in each part");
}

}  // namespace

void add_search(CommandLine& line) {
  CLI::App* search = line.add("search", "Collections of documents, searched by text and by vector");
  search->require_subcommand(1);
  search->footer(
      "Example: cairn search create manual && cairn search add manual docs/ && cairn search query manual vacuum");
  add_create(line, search);
  add_add(line, search);
  add_query(line, search);
  on_database<SearchOptions>(line, line.add(search, "list", "List the collections"), search::run_list);
  add_named(line, line.add(search, "drop", "Drop a collection with its documents"), search::run_drop);
  add_named(line, line.add(search, "index", "Make the vector index what it should be, and analyse"), search::run_index);
  const auto [tune, options] = add_named(
      line, line.add(search, "tune", "Choose how thorough searches by index are, for a recall that is measured"),
      search::run_tune);
  tune->footer("Exit code 1: the recall was not reached.\nExample: cairn search tune manual --recall 0.95");
  tune->add_option("--recall", options->recall, "Part of the ten nearest that is to be found")->capture_default_str();
  tune->add_option("--sample", options->sample, "Searches to measure with")->capture_default_str();
}

}  // namespace cairn::app
