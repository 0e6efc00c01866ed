// #/models and #/models/NAME: registered models, their versions with stages and aliases, approvals, deployments, and who did what.
import {get, mlflow, post} from "./api.js";
import {announce, date, empty, figure, figures, h, link, number, path, section, table, tag, time} from "./dom.js";

const STAGES = ["None", "Staging", "Production", "Archived"];

export async function show(parts, query, context) {
  return parts[1] ? one(parts[1], context) : all(context);
}

async function everything(call, field, args) {
  const found = [];
  let token;
  do {
    const page = await mlflow.get(call, {...args, page_token: token});
    found.push(...(page[field] ?? []));
    token = page.next_page_token;
  } while (token && found.length < 5000);
  return found;
}

async function all({signal}) {
  const [models, {approvals}, {deployments}] = await Promise.all([
    everything("registered-models/search", "registered_models", {max_results: 200}),
    get("api/v1/approvals", {status: "pending"}, signal),
    get("api/v1/deployments", {status: "active", limit: 1000}, signal),
  ]);
  const inStage = (model, stage) =>
    (model.latest_versions ?? [])
      .filter((version) => version.current_stage === stage)
      .map((version) => version.version)
      .join(", ");
  return [
    h("h1", null, "Models"),
    models.length
      ? h(
          "p",
          {class: "lead"},
          `${number(models.length)} registered, ${number(deployments.length)} versions deployed, ${number(approvals.length)} approvals waited for.`,
        )
      : empty(
          "No model is registered yet. ",
          h("code", null, 'mlflow.register_model("runs:/…/model", "name")'),
          " makes the first.",
        ),
    approvals.length > 0 && section("Approvals that wait", ...approvals.map((approval) => approvalCard(approval))),
    models.length > 0 &&
      section(
        "Registered",
        table(
          "Registered models",
          [
            {name: "Model", value: (model) => link(path("models", model.name), model.name)},
            {
              name: "Production",
              value: (model) => inStage(model, "Production") && tag("production", "v " + inStage(model, "Production")),
            },
            {
              name: "Staging",
              value: (model) => inStage(model, "Staging") && tag("staging", "v " + inStage(model, "Staging")),
            },
            {
              name: "Aliases",
              value: (model) =>
                h(
                  "span",
                  {class: "tags"},
                  (model.aliases ?? []).map((alias) => tag("alias", `${alias.alias} → ${alias.version}`)),
                ),
            },
            {
              name: "Deployed in",
              value: (model) =>
                deployments
                  .filter((one) => one.model === model.name)
                  .map((one) => `${one.environment} (v ${one.version})`)
                  .join(", "),
            },
            {name: "Changed", class: "nowrap", value: (model) => time(model.last_updated_timestamp)},
            {name: "Description", class: "long", value: (model) => model.description || ""},
          ],
          models,
        ),
      ),
  ];
}

// Done on the server first; the page is then read anew.
async function change(button, what, call, reload) {
  button.disabled = true;
  const problem = button.closest(".card, section")?.querySelector("[role=alert]");
  try {
    await call();
    announce(what);
    await reload();
  } catch (error) {
    button.disabled = false;
    if (button.tagName === "SELECT") button.value = [...button.options].find((option) => option.defaultSelected).value;
    if (problem) problem.textContent = error.message;
    announce(error.message);
  }
}

function approvalCard(approval, reload = () => location.reload()) {
  const comment = h("input", {type: "text", "aria-label": "Comment", placeholder: "Comment"});
  const decide = (word, done) => (event) =>
    change(
      event.target,
      done,
      () => post(`api/v1/approvals/${approval.approval_id}/${word}`, comment.value ? {comment: comment.value} : {}),
      reload,
    );
  return h(
    "div",
    {class: "card"},
    h(
      "h3",
      null,
      link(path("models", approval.model), approval.model),
      ` version ${approval.version} for ${approval.target}`,
    ),
    h(
      "p",
      null,
      "Asked for ",
      time(approval.requested_at),
      approval.requested_by && " by " + approval.requested_by,
      approval.comment && `: ${approval.comment}`,
    ),
    h(
      "div",
      {class: "bar-of-tools"},
      comment,
      h("button", {type: "button", class: "main", onclick: decide("approve", "Approved")}, "Approve"),
      h("button", {type: "button", class: "danger", onclick: decide("reject", "Rejected")}, "Reject"),
    ),
    h("p", {class: "wrong", role: "alert"}),
  );
}

async function one(name, {signal, reload}) {
  const [{registered_model: model}, versions, {approvals}, {deployments}, {events}] = await Promise.all([
    mlflow.get("registered-models/get", {name}, signal),
    everything("model-versions/search", "model_versions", {
      filter: `name = '${name.replaceAll("'", "''")}'`,
      max_results: 1000,
    }),
    get("api/v1/approvals", {model: name}, signal),
    get("api/v1/deployments", {model: name, limit: 200}, signal),
    get("api/v1/audit", {limit: 1000}, signal),
  ]);
  versions.sort((a, b) => Number(b.version) - Number(a.version));
  const waiting = approvals.filter((approval) => approval.status === "pending");
  const active = deployments.filter((deployment) => deployment.status === "active");
  const about = events.filter(
    (event) =>
      event.object_id === name ||
      event.details?.model === name ||
      event.details?.name === name ||
      (event.object_type === "approval" &&
        approvals.some((approval) => String(approval.approval_id) === event.object_id)),
  );
  const ask = async (event, version) =>
    change(
      event.target,
      "Asked for an approval",
      () => post("api/v1/approvals", {model: name, version: version.version, target: "Production"}),
      reload,
    );
  return [
    h("p", {class: "crumbs"}, link("#/models", "Models")),
    h("h1", null, name),
    model.description && h("p", {class: "lead"}, model.description),
    figures(
      figure("Versions", number(versions.length)),
      figure("In production", versions.find((version) => version.current_stage === "Production")?.version ?? "–"),
      figure("Active deployments", number(active.length)),
      figure("Changed", time(model.last_updated_timestamp)),
    ),
    waiting.length > 0 && section("Approvals that wait", ...waiting.map((approval) => approvalCard(approval, reload))),
    section(
      "Versions",
      h("p", {class: "wrong", role: "alert"}),
      table(
        "Versions",
        [
          {name: "Version", value: (version) => version.version},
          {
            name: "Stage",
            value: (version) =>
              h(
                "select",
                {
                  "aria-label": "Stage of version " + version.version,
                  onchange: (event) =>
                    change(
                      event.target,
                      "Stage changed",
                      () =>
                        mlflow.post("model-versions/transition-stage", {
                          name,
                          version: version.version,
                          stage: event.target.value,
                          archive_existing_versions: false,
                        }),
                      reload,
                    ),
                },
                STAGES.map((stage) => h("option", {selected: stage === version.current_stage}, stage)),
              ),
          },
          {
            name: "Aliases",
            value: (version) =>
              h(
                "span",
                {class: "tags"},
                (version.aliases ?? []).map((alias) => tag("alias", alias)),
              ),
          },
          {
            name: "Made from",
            value: (version) => version.run_id && link(path("runs", version.run_id), version.run_id.slice(0, 8)),
          },
          {name: "Registered", class: "nowrap", value: (version) => time(version.creation_timestamp)},
          {name: "Description", class: "long", value: (version) => version.description || ""},
          {
            name: "Approval",
            value: (version) => {
              const last = approvals.find((approval) => approval.version === version.version);
              return last
                ? tag(last.status)
                : h("button", {type: "button", class: "quiet", onclick: (event) => ask(event, version)}, "Ask for one");
            },
          },
        ],
        versions,
      ),
    ),
    h(
      "div",
      {class: "grid-2"},
      section(
        "Deployments",
        deployments.length
          ? table(
              "Deployments",
              [
                {name: "Environment", value: (deployment) => deployment.environment},
                {name: "Version", value: (deployment) => deployment.version},
                {name: "Status", value: (deployment) => tag(deployment.status)},
                {name: "Replicas", numeric: true, value: (deployment) => number(deployment.replicas)},
                {name: "Deployed", class: "nowrap", value: (deployment) => time(deployment.deployed_at)},
              ],
              deployments,
            )
          : empty("Deployed nowhere."),
      ),
      section(
        "Approvals",
        approvals.length
          ? table(
              "Approvals",
              [
                {name: "Version", value: (approval) => `${approval.version} for ${approval.target}`},
                {name: "Status", value: (approval) => tag(approval.status)},
                {name: "Decided", class: "nowrap", value: (approval) => time(approval.decided_at)},
                {name: "By", value: (approval) => approval.decided_by || ""},
                {name: "Comment", class: "long", value: (approval) => approval.comment || ""},
              ],
              approvals,
            )
          : empty("None was asked for."),
      ),
    ),
    section(
      "Who did what",
      about.length
        ? table(
            "Audit log",
            [
              {name: "When", class: "nowrap", value: (event) => h("span", {title: date(event.at)}, time(event.at))},
              {name: "Who", value: (event) => event.actor || ""},
              {
                name: "Did",
                value: (event) =>
                  (event.object_type.startsWith(event.action)
                    ? event.action
                    : `${event.action} ${event.object_type}`
                  ).replaceAll("_", " "),
              },
              {
                name: "Details",
                class: "long",
                value: (event) =>
                  Object.entries(event.details ?? {})
                    .filter(([key]) => key !== "model" && key !== "name")
                    .map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`)
                    .join(", "),
              },
            ],
            about.slice(0, 60),
          )
        : empty("Nothing is in the audit log."),
    ),
  ];
}
