// Runs while the page's text is still being read: what a section beside the overview needs is fetched along with the shell's modules, not
// after them.
{
  const NEEDS = {
    experiments: ["runs", "virtual_table", "parallel"],
    runs: ["run"],
    compare: ["compare"],
    models: ["models"],
    features: ["features"],
    search: ["search"],
    database: ["database"],
  };
  const section = location.hash.split(/[/?]/)[1] ?? "";
  for (const name of NEEDS[section] ?? [])
    document.head.append(
      Object.assign(document.createElement("link"), {
        rel: "modulepreload",
        href: new URL(name + ".js", document.currentScript.src),
      }),
    );
}
