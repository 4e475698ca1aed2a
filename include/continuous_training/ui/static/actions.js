// What people do with a model from the page Models: each asks for a reason, and goes through Airflow's own API and permissions.
import {
  Note, Refused, RouterLink, Shown, Table, UI, h, minute, plain, read, readAirflow, send, trigger, useData, useId, useState,
} from "./parts.js";

function Frame({ title, onClose, foot, size, children }) {
  return h(
    UI.Dialog.Root,
    { open: true, size, scrollBehavior: "inside", onOpenChange: (change) => change.open || onClose() },
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

function Ask({ title, word = title, text, children, ready, act, done = "Asked for: ", size, onClose }) {
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
    !state.run && h(UI.Button, { onClick: confirm, disabled: !reason.trim() || !ready || state.busy, loading: state.busy }, word),
  );
  return h(
    Frame,
    { title, onClose, foot, size },
    h(UI.Text, { mb: 3 }, text),
    children,
    h("label", { htmlFor: field }, "Reason (kept for ever in the ledger)"),
    h(UI.Textarea, {
      id: field, value: reason, maxLength: 500, autoFocus: !children, required: true, mt: 1,
      onChange: (event) => setReason(event.target.value),
    }),
    state.error && h(UI.Box, { mt: 3, role: "alert" }, h(Note, { status: "error" }, plain(state.error.message))),
    state.run &&
      h(
        UI.Box,
        { mt: 3, role: "status" },
        h(Note, { status: "success" }, done,
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

// What a task asks is Markdown. Of that only paragraphs, tables, bold and code are drawn, and all of it as text: it can be no markup.
const inline = (text) =>
  text.split(/(\*\*[^*]+\*\*|`[^`]*`)/).map((piece, index) => {
    if (piece.startsWith("`") && index % 2) return h(UI.Code, { key: index, whiteSpace: "normal" }, plain(piece.slice(1, -1)));
    return index % 2 ? h("strong", { key: index }, plain(piece.slice(2, -2))) : plain(piece);
  });

function Asked({ body }) {
  const blocks = body.split("\n\n");
  return blocks.map((block, index) => {
    if (!block.startsWith("|")) return h(UI.Text, { key: index, mb: 2 }, inline(block));
    const [heads, , ...rows] = block.split("\n").map((line) => line.slice(2, -2).split(" | "));
    const caption = plain(blocks[index - 1] ?? "").replaceAll("*", "");
    return h(UI.Box, { key: index, mb: 3 },
      h(Table, { caption, heads, rows: rows.map((cells, row) => ({ key: row, cells: cells.map(inline) })) }));
  });
}

const names = (users) => users.map((user) => plain(user.name)).join(", ");

// Airflow takes the answer, from whoever may give it, and once.
async function reply(asked, chosen, why) {
  const { dag_id: dagId, dag_run_id: runId, task_id: taskId, map_index: index } = asked.task_instance;
  const at = `dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}/taskInstances/${taskId}/${index}/hitlDetails`;
  try {
    await send("PATCH", at, { chosen_options: [chosen], params_input: { why } });
  } catch (error) {
    if (error.status === 403 && asked.assigned_users.length)
      throw new Refused(`Only ${names(asked.assigned_users)} may answer: the model file names who approves. Nothing was changed.`);
    if (error.status === 404) throw new Refused("It asks no more: the task was cleared, or its run deleted.");
    if (error.status !== 409) throw error;
    const now = await readAirflow(at);
    const who = now.responded_by_user ? names([now.responded_by_user]) : "Nobody in time";
    throw new Refused(`Already answered. ${who}: ${plain(now.chosen_options.join(", "))}. Your answer was not taken.`);
  }
  return asked.task_instance;
}

function Approve({ model, onClose }) {
  const [chosen, choose] = useState("");
  const group = useId();
  const state = useData(
    () =>
      readAirflow(`dags/${model}.train/dagRuns/~/hitlDetails`, {
        response_received: false, state: "awaiting_input", order_by: "created_at", limit: 1,
      }),
    [model],
  );
  const [asked] = state.data?.hitl_details ?? [];
  const title = `Approve for ${model}`;
  if (!asked)
    return h(
      Frame,
      { title, onClose, foot: h(UI.Button, { variant: "outline", onClick: onClose }, "Close") },
      h(Shown, { state }, () => "Nothing waits for a person now."),
    );
  return h(
    Ask,
    {
      title, ready: chosen !== "", onClose, size: "xl", done: "Answered: ",
      word: chosen ? `${chosen} the challenger of ${model}` : "Answer",
      text: plain(asked.subject),
      act: (reason) => reply(asked, chosen, reason),
    },
    h(Asked, { body: asked.body ?? "" }),
    asked.assigned_users.length > 0 && h(UI.Text, { mb: 2 }, `Who may answer: ${names(asked.assigned_users)}`),
    h(
      "fieldset",
      { style: { marginBottom: 12 } },
      h("legend", null, "Your answer"),
      asked.options.map((option) =>
        h(
          "label",
          { key: option, style: { marginRight: 16 } },
          h("input", {
            type: "radio", name: group, value: option, checked: chosen === option, onChange: () => choose(option), style: { marginRight: 6 },
          }),
          plain(option),
        ),
      ),
    ),
  );
}

export const DIALOGS = { retrain: Retrain, approve: Approve, rollback: RollBack };

export function Actions({ row, open }) {
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
