// `cairn completion bash|zsh`: scripts made from the commands themselves, so that they always fit.
#include <iostream>

#include "app/commands.h"

namespace cairn::app {
namespace {

// One line a command: its words, then what may follow.
//   "migrate upgrade" --directory --json …
void add_words(const CLI::App& command, const std::string& path, std::string& cases) {
  std::string words;
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    words += child->get_name() + " ";
    add_words(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), cases);
  }
  // Where a command has to follow, options would only hide it.
  if (words.empty() || path.empty())
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
    }
  cases += "    \"" + path + "\") words='" + words + "' ;;\n";
}

// Both shells walk over the words that are no options and look the path up.
std::string bash_script(const std::string& cases) {
  return R"(# Completion of cairn for bash: source <(cairn completion bash)
_cairn() {
  local current=${COMP_WORDS[COMP_CWORD]} path= word words
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    path="${path:+$path }$word"
  done
  _cairn_words "$path"
  if [[ -z $words || ( $current != -* && $words == --* ) ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
_cairn_words() {
  case $1 in
)" + cases +
         R"(    *) words= ;;
  esac
}
complete -o filenames -F _cairn cairn
)";
}

std::string zsh_script(const std::string& cases) {
  return R"(#compdef cairn
# Completion of cairn for zsh: cairn completion zsh > a folder of $fpath, as the file _cairn; or: source <(cairn completion zsh)
_cairn() {
  local joined= word words_found
  for word in "${(@)words[2,CURRENT-1]}"; do
    [[ $word == -* ]] && break
    joined="${joined:+$joined }$word"
  done
  _cairn_words "$joined"
  if [[ -n $words_found ]]; then
    compadd -- ${=words_found}
  fi
  [[ $words[CURRENT] == -* ]] || _files
}
_cairn_words() {
  local words
  case $1 in
)" + cases +
         R"(    *) words= ;;
  esac
  words_found=$words
}
compdef _cairn cairn
)";
}

}  // namespace

void add_completion(CommandLine& line) {
  CLI::App* completion = line.add("completion", "Print the completion script of a shell");
  completion->footer("Example: source <(cairn completion bash)");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  line.on(completion, [&line, shell] {
    std::string cases;
    add_words(line.root(), "", cases);
    std::cout << (*shell == "bash" ? bash_script(cases) : zsh_script(cases));
    return 0;
  });
}

}  // namespace cairn::app
