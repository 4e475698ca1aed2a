// The tab Decision of a DAG run: why it ran, what the gate said, and what changed.
import {
  Mark, Note, Page, Part, Refused, Shown, Table, UI, colours, day, h, minute, number, plain, read, readAirflow, short, useData,
} from "./parts.js";

// The run's identity is in the answer of its plan task; a rollback has none of its own.
async function explained(dagId, runId) {
  const task = dagId.endsWith(".rollback") ? "roll_back" : "plan";
  const at = `dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}/taskInstances/${task}/xcomEntries/return_value`;
  let value;
  try {
    value = (await readAirflow(at)).value;
  } catch (error) {
    if (error.status !== 404) throw error;
    throw new Refused(`The task ${task} has not answered yet, so nothing is decided (${error.message}).`);
  }
  const answer = typeof value === "string" ? JSON.parse(value) : value;
  if (task === "roll_back") return { rollback: answer.facts };
  const { run } = answer.facts;
  if (run.kind === "watch") return { look: await read(`dags/${dagId}/look`, run.window) };
  return read(`dags/${dagId}/decision`, { key: run.key });
}

function Interval({ estimate, width = 420 }) {
  const { low, high, value } = estimate;
  const reach = Math.max(Math.abs(low), Math.abs(high)) * 1.15 || 1;
  const x = (each) => width / 2 + (each / reach) * (width / 2 - 8);
  const label = `Challenger minus champion: ${number(value)}, between ${number(low)} and ${number(high)}; right of the middle the challenger is better`;
  return h(
    "svg",
    { role: "img", "aria-label": label, viewBox: `0 0 ${width} 58`, width, style: { maxWidth: "100%", display: "block" } },
    h("title", null, label),
    h("line", { x1: width / 2, x2: width / 2, y1: 4, y2: 38, stroke: colours.muted, strokeDasharray: "3 3" }),
    h("line", { x1: x(low), x2: x(high), y1: 21, y2: 21, stroke: colours.calm, strokeWidth: 5 }),
    h("circle", { cx: x(value), cy: 21, r: 6, fill: colours.calm, stroke: colours.text }),
    h("text", { x: 4, y: 54, fontSize: 11, fill: colours.muted }, "champion better"),
    h("text", { x: width - 4, y: 54, fontSize: 11, fill: colours.muted, textAnchor: "end" }, "challenger better"),
    h("text", { x: width / 2, y: 54, fontSize: 11, fill: colours.text, textAnchor: "middle" }, number(value)),
  );
}

function Decided({ decision, evidence, told }) {
  return h(
    UI.Box,
    null,
    decision.why !== told &&
      h(UI.HStack, { mb: 2, align: "start" }, h(Mark, { word: decision.answer }), h(UI.Text, null, plain(decision.why))),
    evidence.defects.map((defect, index) => h(Note, { key: index, status: "warning" }, plain(defect.text ?? defect.kind))),
    decision.signals.length > 0 &&
      h(Table, {
        caption: "Signals",
        heads: ["Signal", "State", "Number", "Note"],
        rows: decision.signals.map((signal, index) => ({
          key: index,
          cells: [plain(signal.name), h(Mark, { word: signal.state }), plain(signal.text), signal.counts ? "" : "written down only"],
        })),
      }),
  );
}

function Why({ found }) {
  const { decision, evidence, record } = found;
  const { reason } = record.run;
  return h(
    Part,
    { title: "Why it ran" },
    reason && h(UI.HStack, { mb: 2, align: "start" }, h(Mark, { word: reason.kind, palette: "blue" }), h(UI.Text, null, plain(reason.text))),
    decision && h(Decided, { decision, evidence, told: reason?.text }),
  );
}

// A run of the watch: one window, and what was decided on it.
function Look({ look, dagId }) {
  const { decision, evidence } = look;
  const { window } = decision;
  return h(
    UI.Box,
    null,
    h(Part, { title: "What was decided", note: `It looked at the window ${day(window.start)} to ${day(window.end)}, ${number(evidence.rows)} rows` },
      h(Decided, { decision, evidence })),
    evidence.causes.length > 0 && h(Causes, { causes: evidence.causes }),
    evidence.no_causes && h(Note, null, plain(evidence.no_causes)),
    evidence.groups.length > 0 && h(Groups, { ...evidence, who: "champion" }),
    evidence.report && h(Links, { links: [["Drift report", own(dagId, "drift/report", window)]] }),
  );
}

// What made the quality change: bars with their intervals, from the middle to either side.
function Causes({ causes, width = 520 }) {
  const reach = Math.max(...causes.flatMap((cause) => [Math.abs(cause.low), Math.abs(cause.high)])) * 1.1 || 1;
  const left = 190;
  const middle = left + (width - left) / 2;
  const x = (value) => middle + (value / reach) * ((width - left) / 2);
  const label = `Parts of the change: ${causes.map((cause) => `${plain(cause.name)} ${number(cause.value)}`).join(", ")}`;
  return h(
    Part,
    { title: "What made the quality change", note: `Parts of the change of ${plain(causes[0].metric)}${causes[0].slice ? ` where ${plain(causes[0].slice)}` : ""} between the rows the champion was judged on and this window, with their intervals` },
    h(
      "svg",
      { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${causes.length * 24 + 8}`, width, style: { maxWidth: "100%", display: "block" } },
      h("title", null, label),
      h("line", { x1: middle, x2: middle, y1: 2, y2: causes.length * 24 + 4, stroke: colours.muted, strokeDasharray: "3 3" }),
      causes.map((cause, index) => {
        const y = index * 24 + 16;
        return h(
          "g",
          { key: index },
          h("text", { x: left - 10, y: y + 4, fontSize: 12, textAnchor: "end", fill: colours.text }, plain(cause.name).slice(0, 28), h("title", null, `${plain(cause.name)} (${cause.kind})`)),
          h("rect", { x: Math.min(x(0), x(cause.value)), width: Math.max(Math.abs(x(cause.value) - x(0)), 1), y: y - 6, height: 12, fill: cause.value < 0 ? colours.far : colours.calm, opacity: 0.75 }),
          h("line", { x1: x(cause.low), x2: x(cause.high), y1: y, y2: y, stroke: colours.text }),
        );
      }),
    ),
  );
}

const interval = (estimate) => (estimate?.low == null ? plain(estimate?.note || "–") : `${number(estimate.low)} to ${number(estimate.high)}`);

// How people are served: of a training both models, of a look the champion alone.
function Groups({ groups, disparities, who }) {
  return h(
    Part,
    { title: "Groups of people", note: `How the ${who} serves each group of the sensitive columns` },
    disparities.length > 0 &&
      h(UI.Box, { mb: 3 },
        h(Table, {
          caption: "Limits of fairness", heads: ["What", "Column", "Number", "Interval", "In words"],
          rows: disparities.map((each, index) => ({
            key: index,
            cells: [each.measure.replaceAll("_", " "), plain(each.column), number(each.estimate.value), interval(each.estimate), plain(each.text)],
          })),
        })),
    h(Table, {
      caption: "Groups", heads: ["Group", "Rows", "Metric", "Interval", "Selected", "True positives", "False positives"],
      rows: groups.slice(0, 60).map((group, index) => {
        const score = group[who];
        return {
          key: index,
          cells: [
            `${plain(group.column)} = ${plain(group.value)}`, number(group.rows), number(score?.metric.value), interval(score?.metric),
            number(score?.selection_rate?.value), number(score?.true_positive_rate?.value), number(score?.false_positive_rate?.value),
          ],
        };
      }),
    }),
  );
}

function Gate({ verdict }) {
  return h(
    Part,
    { title: "What the gate said" },
    h(UI.HStack, { mb: 2, align: "start" }, h(Mark, { word: verdict.outcome }), h(UI.Text, null, plain(verdict.text))),
    h(Table, {
      caption: "Rules of the promotion gate",
      heads: ["Rule", "Outcome", "Value", "Interval", "Limit", "In words"],
      rows: verdict.rules.map((rule, index) => ({
        key: index,
        cells: [
          plain(rule.name), h(Mark, { word: rule.outcome }), number(rule.value),
          interval(rule), number(rule.limit), plain(rule.text),
        ],
      })),
    }),
  );
}

function Comparison({ comparison }) {
  const { challenger, champion, difference, metrics, slices } = comparison;
  const estimate = (name, each) => ({
    key: name,
    cells: [name, number(each.value), interval(each)],
  });
  return h(
    Part,
    { title: "Champion against challenger", note: `${plain(comparison.metric)} on ${number(comparison.rows)} hold-out rows that neither was judged on before` },
    difference && difference.low !== null && h(UI.Box, { mb: 3 }, h(Interval, { estimate: difference })),
    h(Table, {
      caption: "Both models on the same rows",
      heads: ["Model", plain(comparison.metric), "Interval"],
      rows: [estimate("challenger", challenger), ...(champion ? [estimate("champion", champion)] : [])],
    }),
    h(UI.Box, { mt: 3 },
      h(Table, {
        caption: "Every metric",
        heads: ["Metric", "Challenger", "Champion"],
        rows: Object.entries(metrics).map(([name, [ours, theirs]]) => ({ key: name, cells: [plain(name), number(ours), number(theirs)] })),
      })),
    slices.length > 0 &&
      h(UI.Box, { mt: 3 },
        h(Table, {
          caption: "Slices",
          heads: ["Slice", "Rows", "Difference", "Interval"],
          rows: slices.slice(0, 100).map((slice) => ({
            key: `${slice.column}=${slice.value}`,
            cells: [
              `${plain(slice.column)} = ${plain(slice.value)}`, number(slice.rows), number(slice.difference.value), interval(slice.difference),
            ],
          })),
        })),
  );
}

const own = (dagId, path, parameters) =>
  new URL(`continuous-training/pages/dags/${dagId}/${path}?${new URLSearchParams(parameters)}`, document.baseURI).href;

function Links({ links }) {
  if (!links.length) return null;
  return h(Part, { title: "More" },
    h(UI.Wrap, { gap: 3 },
      links.map(([name, href]) => h(UI.Link, { key: name, href, target: "_blank", rel: "noopener noreferrer", color: "fg.info" }, name))));
}

function Explained({ found, dagId }) {
  const { record, rollout } = found;
  const { approve: answer } = found.facts;
  const links = Object.entries(found.links).filter(([, href]) => /^https?:\/\//.test(href));
  if (found.has_card) links.unshift(["Model card", own(dagId, "card", { key: record.run.key })]);
  return h(
    UI.Box,
    null,
    h(UI.HStack, { mb: 4, wrap: "wrap", align: "start" },
      h(Mark, { word: record.outcome ?? "not ended", palette: record.outcome ? undefined : "blue" }),
      h(UI.Text, { fontSize: "lg" }, plain(record.text || "It goes on."))),
    h(UI.Text, { color: "fg.muted", mb: 4 }, `run ${short(record.run.key)}, rows from ${day(record.run.window.start)} to ${day(record.run.window.end)}, begun ${minute(record.began_at)}`),
    found.notes.map((note, index) => h(Note, { key: index, status: "warning" }, plain(note))),
    h(Why, { found }),
    found.evidence?.causes.length > 0 && h(Causes, { causes: found.evidence.causes }),
    found.verdict && h(Gate, { verdict: found.verdict }),
    found.comparison && h(Comparison, { comparison: found.comparison }),
    found.comparison?.groups.length > 0 && h(Groups, { ...found.comparison, who: "challenger" }),
    answer &&
      h(Part, { title: "What a person said" },
        h(UI.HStack, { align: "start" }, h(Mark, { word: answer.approved ? "approved" : "rejected" }), h(UI.Text, null, plain(answer.text)))),
    rollout &&
      h(Part, { title: "How it met real requests" },
        h(UI.HStack, { mb: 2, align: "start" }, h(Mark, { word: rollout.answer }), h(UI.Text, null, plain(rollout.text))),
        rollout.verdict && h(Table, {
          caption: "Guards of the rollout", heads: ["Guard", "Outcome", "In words"],
          rows: rollout.verdict.rules.map((rule, index) => ({ key: index, cells: [plain(rule.name), h(Mark, { word: rule.outcome }), plain(rule.text)] })),
        })),
    found.changes.length > 0 &&
      h(Part, { title: "What changed" },
        h(Table, {
          caption: "What is new against the champion before", heads: ["What", "Before", "After"],
          rows: found.changes.map((change, index) => ({ key: index, cells: [plain(change.what), plain(change.before ?? "–"), plain(change.after ?? "–")] })),
        })),
    h(Links, { links }),
  );
}

const RolledBack = ({ facts }) =>
  h(Part, { title: "What was rolled back" },
    h(UI.Text, null, `Version ${facts.version} is the champion again (fence ${facts.fence}): ${plain(facts.reason)}`));

function Decision({ dagId, runId }) {
  const state = useData(() => explained(dagId, runId), [dagId, runId]);
  return h(
    Page,
    { title: "Decision" },
    h(Shown, { state }, (found) => {
      if (found.rollback) return h(RolledBack, { facts: found.rollback });
      return found.look ? h(Look, { look: found.look, dagId }) : h(Explained, { found, dagId });
    }),
  );
}

globalThis.AirflowPlugin = Decision;
