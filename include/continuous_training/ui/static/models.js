// The page Models: every model at a glance, and what people do with one.
import { Actions, DIALOGS } from "./actions.js";
import {
  DriftBars, Mark, Note, Page, Pager, QualityLine, RouterLink, Search, Shown, Table, UI, day, duration, h, minute, number, plain, read,
  useData, useState,
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

function Models() {
  const [search, setSearch] = useState("");
  const [offset, setOffset] = useState(0);
  const [dialog, setDialog] = useState(null);
  const state = useData(() => read("models", { search, offset, limit: PAGE }), [search, offset]);
  const find = (text) => {
    setSearch(text);
    setOffset(0);
  };
  return h(
    Page,
    { title: "Models", note: "Each model file of this deployment: what serves, how it fares, and why.", actions: h(Search, { label: "Search models", value: search, set: find }) },
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
    h(Pager, { offset, step: PAGE, total: state.data?.total ?? 0, move: setOffset }),
    dialog && h(DIALOGS[dialog.what], { model: dialog.model, onClose: () => { setDialog(null); state.reload(); } }),
  );
}

globalThis.AirflowPlugin = Models;
