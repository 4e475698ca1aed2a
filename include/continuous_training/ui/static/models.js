// The page Models: every model at a glance, and what people do with one.
import {
  DriftBars, Mark, Note, Page, QualityLine, RouterLink, Shown, Table, UI, day, duration, h, minute, number, plain, read, readAirflow,
  trigger, useData, useId, useState,
} from "./parts.js";

const PAGE = 25;

function Age({ row }) {
  if (row.age_seconds === null) return "–";
  const limit = row.max_age_seconds;
  const old = limit !== null && row.age_seconds > limit;
  return h(
    UI.Box,
    null,
    h(UI.Text, { color: old ? "fg.error" : undefined }, duration(row.age_seconds), limit === null ? "" : ` of ${duration(limit)}`),
    h(UI.Text, { color: "fg.muted", fontSize: "xs" }, "data until ", h(UI.Span, { whiteSpace: "nowrap" }, day(row.data_cutoff))),
  );
}

function Quality({ row }) {
  const line = row.lines.find((each) => each.line === "final" && (each.below ?? each.above) !== null) ?? row.lines[0];
  if (!line) return h(UI.Text, { color: "fg.muted" }, "no rule");
  const newest = [...line.points].reverse().find((point) => point.value !== null);
  return h(
    UI.Box,
    null,
    h(UI.Text, { fontSize: "xs" }, `${plain(line.metric)} ${number(newest?.value)}`),
    h(QualityLine, { line }),
  );
}

function LastLook({ row }) {
  const look = row.looks[row.looks.length - 1];
  if (!look) return "–";
  return h(
    UI.Box,
    null,
    h(UI.HStack, { gap: 2 }, h(Mark, { word: look.answer }), h(UI.Text, { fontSize: "xs", color: "fg.muted" }, day(look.window.end))),
    h(UI.Text, { fontSize: "xs", lineClamp: 3, title: plain(look.why) }, plain(look.why)),
  );
}

function Standing({ row }) {
  const marks = row.episodes.map((kind) => h(Mark, { key: kind, word: kind, palette: "orange" }));
  if (row.rollout_answer === "watch") marks.push(h(Mark, { key: "rollout", word: "rollout", palette: "blue" }));
  return h(
    UI.Box,
    null,
    marks.length ? h(UI.Wrap, { gap: 1 }, marks) : h(UI.Text, { color: "fg.muted" }, "calm"),
    row.rollout && h(UI.Text, { fontSize: "xs", lineClamp: 2, title: plain(row.rollout) }, plain(row.rollout)),
    row.note && h(UI.Text, { fontSize: "xs", color: "fg.error" }, plain(row.note)),
  );
}

function Frame({ title, onClose, foot, children }) {
  return h(
    UI.Dialog.Root,
    { open: true, onOpenChange: (change) => change.open || onClose() },
    h(
      UI.Portal,
      null,
      h(UI.Dialog.Backdrop),
      h(
        UI.Dialog.Positioner,
        null,
        h(
          UI.Dialog.Content,
          null,
          h(UI.Dialog.Header, null, h(UI.Dialog.Title, null, title)),
          h(UI.Dialog.Body, null, children),
          h(UI.Dialog.Footer, null, foot),
        ),
      ),
    ),
  );
}

// Everything that changes a model asks for a reason, and goes through Airflow's own API and permissions.
function Ask({ title, text, children, ready, act, onClose }) {
  const [reason, setReason] = useState("");
  const [state, setState] = useState({});
  const field = useId();
  const confirm = () => {
    setState({ busy: true });
    act(reason.trim()).then((run) => setState({ run }), (error) => setState({ error }));
  };
  const foot = h(
    UI.HStack,
    null,
    h(UI.Button, { variant: "outline", onClick: onClose }, state.run ? "Close" : "Cancel"),
    !state.run && h(UI.Button, { onClick: confirm, disabled: !reason.trim() || !ready || state.busy, loading: state.busy }, title),
  );
  return h(
    Frame,
    { title, onClose, foot },
    h(UI.Text, { mb: 3 }, text),
    children,
    h("label", { htmlFor: field }, "Reason (kept for ever in the ledger)"),
    h(UI.Textarea, {
      id: field, value: reason, maxLength: 500, autoFocus: true, required: true, mt: 1,
      onChange: (event) => setReason(event.target.value),
    }),
    state.error && h(UI.Box, { mt: 3 }, h(Note, { status: "error" }, plain(state.error.message))),
    state.run &&
      h(
        UI.Box,
        { mt: 3 },
        h(Note, { status: "success" }, "Asked for: ",
          h(RouterLink, { to: `/dags/${state.run.dag_id}/runs/${encodeURIComponent(state.run.dag_run_id)}` }, "open the run")),
      ),
  );
}

function Retrain({ model, onClose }) {
  return h(Ask, {
    title: `Retrain ${model}`, ready: true, onClose,
    text: "A challenger is trained on the newest data. It replaces the champion only where the gate finds it better.",
    act: (reason) => trigger(`${model}.train`, { reason }),
  });
}

function RollBack({ model, onClose }) {
  const [version, setVersion] = useState("");
  const state = useData(() => read(`dags/${model}.train/champions`), [model]);
  const field = useId();
  const [now, ...before] = state.data?.served ?? [];
  const versions = [...new Map(before.filter((one) => one.version !== now.version).map((one) => [one.version, one])).values()];
  return h(
    Ask,
    {
      title: `Roll back ${model}`, ready: version !== "", onClose,
      text: now ? `Version ${now.version} is the champion. An earlier one becomes it again, as a step forward.` : "",
      act: (reason) => trigger(`${model}.rollback`, { version: Number(version), reason }),
    },
    h(Shown, { state }, () =>
      versions.length
        ? h(
            UI.Box,
            { mb: 3 },
            h("label", { htmlFor: field }, "Version"),
            h(
              UI.NativeSelect.Root,
              { mt: 1 },
              h(
                UI.NativeSelect.Field,
                { id: field, value: version, onChange: (event) => setVersion(event.target.value) },
                h("option", { value: "" }, "choose one"),
                versions.map((one) =>
                  h("option", { key: one.version, value: one.version }, `${one.version}, champion from ${minute(one.since)}`),
                ),
              ),
              h(UI.NativeSelect.Indicator),
            ),
          )
        : h(Note, { status: "warning" }, "No other version was ever the champion, so there is nothing to go back to."),
    ),
  );
}

// What waits for a person: Airflow's own page shows before and after, and takes the answer.
function Approve({ model, onClose }) {
  const state = useData(
    () => readAirflow(`dags/${model}.train/dagRuns/~/hitlDetails`, { response_received: false, limit: 10 }),
    [model],
  );
  return h(
    Frame,
    { title: `Approve for ${model}`, onClose, foot: h(UI.Button, { variant: "outline", onClick: onClose }, "Close") },
    h(Shown, { state }, ({ hitl_details: waiting }) =>
      waiting.length
        ? waiting.map(({ task_instance: task, subject }) =>
            h(UI.Text, { key: task.id },
              h(RouterLink, {
                to: `/dags/${task.dag_id}/runs/${encodeURIComponent(task.dag_run_id)}/tasks/${task.task_id}/required_actions`,
              }, plain(subject))))
        : "Nothing waits for a person now."),
  );
}

const DIALOGS = { retrain: Retrain, approve: Approve, rollback: RollBack };

function Actions({ row, open }) {
  const button = (what, word) =>
    h(UI.Button, { size: "xs", variant: "outline", onClick: () => open({ what, model: row.model }), "aria-label": `${word} ${row.model}` }, word);
  return h(
    UI.Wrap,
    { gap: 1 },
    button("retrain", "Retrain"),
    row.asks && button("approve", "Approve"),
    row.version !== null && button("rollback", "Roll back"),
  );
}

function Models() {
  const [search, setSearch] = useState("");
  const [offset, setOffset] = useState(0);
  const [dialog, setDialog] = useState(null);
  const state = useData(() => read("models", { search, offset, limit: PAGE }), [search, offset]);
  const total = state.data?.total ?? 0;
  const search_field = h(UI.Input, {
    placeholder: "Search", "aria-label": "Search models", value: search, maxW: "16rem", size: "sm",
    onChange: (event) => {
      setSearch(event.target.value);
      setOffset(0);
    },
  });
  return h(
    Page,
    { title: "Models", note: "Each model file of this deployment: what serves, how it fares, and why.", actions: search_field },
    h(Shown, { state }, ({ models }) =>
      models.length
        ? h(Table, {
            caption: "Models",
            heads: ["Model", "Champion", "Age of its data", "Drift", "Quality", "Newest decision", "Now", "Do"],
            rows: models.map((row) => ({
              key: row.model,
              cells: [
                h(UI.Box, { maxW: "16rem" },
                  h(UI.Link, { asChild: true, fontWeight: "semibold", color: "fg.info" }, h(RouterLink, { to: `/dags/${row.model}.train/plugin/champions` }, row.model)),
                  h(UI.Text, { fontSize: "xs", color: "fg.muted", lineClamp: 3 }, plain(row.description))),
                row.version === null
                  ? h(UI.Text, { color: "fg.muted" }, "none yet")
                  : h(UI.Box, null, h(UI.Text, null, `version ${row.version}`),
                      h(UI.Text, { fontSize: "xs", color: "fg.muted" }, `since ${minute(row.promoted_at)}`)),
                h(Age, { row }),
                h(RouterLink, { to: `/dags/${row.model}.train/plugin/drift`, "aria-label": `Drift of ${row.model}` }, h(DriftBars, { looks: row.looks })),
                h(Quality, { row }),
                h(LastLook, { row }),
                h(Standing, { row }),
                h(Actions, { row, open: setDialog }),
              ],
            })),
          })
        : h(Note, null, search ? "No model has this in its name." : "No model yet: write a model file, or ask for the right to see its DAG."),
    ),
    total > PAGE &&
      h(
        UI.HStack,
        { mt: 3, gap: 3 },
        h(UI.Button, { size: "sm", variant: "outline", disabled: offset === 0, onClick: () => setOffset(offset - PAGE) }, "Before"),
        h(UI.Text, { "aria-live": "polite" }, `${offset + 1} to ${Math.min(offset + PAGE, total)} of ${total}`),
        h(UI.Button, { size: "sm", variant: "outline", disabled: offset + PAGE >= total, onClick: () => setOffset(offset + PAGE) }, "Next"),
      ),
    dialog && h(DIALOGS[dialog.what], { model: dialog.model, onClose: () => { setDialog(null); state.reload(); } }),
  );
}

globalThis.AirflowPlugin = Models;
