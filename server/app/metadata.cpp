#include "app/metadata.h"

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "jobs/child.h"

namespace cairn::app {
namespace {

using namespace std::chrono_literals;

constexpr size_t kOutputMost = 64 << 20;

// Standard output is the answer's alone, whatever the module prints. The engine is a mock one: it needs no driver.
constexpr const char* kRender = R"(
import importlib, json, os, sys
answer, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
sys.path.insert(0, os.getcwd())
import sqlalchemy
from sqlalchemy.schema import CreateSchema
module, _, path = sys.argv[1].partition(":")
found = importlib.import_module(module)
for name in path.split("."):
    found = getattr(found, name)
metadata = getattr(found, "metadata", found)
if not isinstance(metadata, sqlalchemy.MetaData):
    sys.exit(f"{sys.argv[1]} is a {type(found).__name__}: neither a MetaData nor a declarative base")
statements = []
engine = sqlalchemy.create_mock_engine("postgresql://", lambda ddl, *_, **__: statements.append(str(ddl.compile(dialect=engine.dialect))))
for schema in sorted({table.schema for table in metadata.tables.values() if table.schema} - {"public"}):
    engine.execute(CreateSchema(schema))
metadata.create_all(engine, checkfirst=False)
others = {table.schema for table in metadata.tables.values() if table.info.get("cairn")} - {None}
if not any(table.schema in (None, "public") for table in metadata.tables.values()):
    others.add("public")
json.dump({"sql": ";\n".join(statements) + ";\n", "left_alone": sorted(others)}, answer)
)";

}  // namespace

schema::Wanted read_metadata(const std::string& name) {
  if (name.find(':') == std::string::npos || name.starts_with(':') || name.ends_with(':'))
    throw invalid("'" + name + "' names no metadata: give MODULE:ATTRIBUTE, like shop.models:Base");
  jobs::Child python({"python3", "-c", kRender, name}, {}, "");
  while (!python.ended()) std::this_thread::sleep_for(10ms);
  if (!python.succeeded())
    throw invalid("python3 cannot read the metadata " + name + " (" + python.describe_end() +
                  "): what it says stands above; it needs SQLAlchemy 1.4 or newer, and the module in this directory");
  const json::Document document(python.output(kOutputMost));
  const json::Fields fields = json::root_fields(document);
  return {fields.required_string("sql"), fields.strings("left_alone")};
}

}  // namespace cairn::app
