// The tab Drift of a DAG: columns by windows, and one column's values beside the reference's.
import {
  Mark, Note, Overlay, Page, Pager, Part, QualityLine, Search, Shown, Table, UI, colours, day, h, modelOf, number, plain, read, useData,
  useState,
} from "./parts.js";

const PAGE = 50;
const strength = (cell) => (cell.reach === null ? 0 : Math.min(cell.reach / 2, 1) * 85);

function Square({ cell, name, looked, chosen, choose }) {
  const window = `${day(looked.window.start)} to ${day(looked.window.end)}`;
  if (!cell) return h("td", { "aria-label": `${plain(name)}, ${window}: not measured`, style: { padding: 1 } });
  const label = `${plain(name)}, ${window}: ${plain(cell.detector)} ${plain(cell.text)}${cell.exceeded ? ", drift" : ""}`;
  return h(
    "td",
    { style: { padding: 1 } },
    h(
      "button",
      {
        type: "button", title: label, "aria-label": label, "aria-pressed": chosen, onClick: choose,
        style: {
          width: 26, height: 22, display: "block", borderRadius: 3, cursor: "pointer", color: colours.text, fontSize: 12,
          border: `${chosen ? 2 : 1}px solid ${chosen ? colours.text : colours.line}`,
          background: cell.reach === null
            ? `repeating-linear-gradient(45deg, transparent 0 3px, ${colours.line} 3px 4px)`
            : `color-mix(in srgb, ${cell.exceeded ? colours.far : colours.calm} ${strength(cell)}%, transparent)`,
        },
      },
      cell.exceeded ? "!" : "",
    ),
  );
}

function HeatMap({ map, chosen, choose }) {
  return h(
    UI.Box,
    { overflowX: "auto" },
    h(
      "table",
      { style: { borderCollapse: "separate" } },
      h("caption", { style: { position: "absolute", clip: "rect(0 0 0 0)", width: 1, height: 1, overflow: "hidden" } },
        "How far each column lies from its reference, by window"),
      h("thead", null,
        h("tr", null,
          h("th", { scope: "col", style: { textAlign: "left", fontWeight: 600 } }, "Column"),
          map.windows.map((looked) =>
            h("th", {
              key: looked.window.end, scope: "col", title: `${looked.answer}: ${plain(looked.why)}`,
              style: { fontSize: 10, fontWeight: 400, height: 74, verticalAlign: "bottom", color: colours.muted },
            }, h("span", { style: { writingMode: "vertical-rl", transform: "rotate(180deg)" } },
              `${day(looked.window.end)}${looked.defects.length ? " broken" : looked.answer === "yes" ? " retrain" : ""}`))))),
      h("tbody", null,
        map.columns.map((column) =>
          h("tr", { key: column.name },
            h("th", { scope: "row", style: { textAlign: "left", fontWeight: 400, paddingRight: 12, maxWidth: 260, overflowWrap: "anywhere" } }, plain(column.name)),
            column.cells.map((cell, index) =>
              h(Square, {
                key: index, cell, name: column.name, looked: map.windows[index],
                chosen: chosen?.name === column.name && chosen.window.end === map.windows[index].window.end,
                choose: () => choose({ name: column.name, window: map.windows[index].window }),
              }))))),
    ),
  );
}

const share = (value) => `${(value * 100).toFixed(1)} %`;

function Detail({ dagId, chosen }) {
  const { name, window } = chosen;
  const state = useData(
    () => read(`dags/${dagId}/drift/column`, { name, start: window.start, end: window.end }),
    [dagId, name, window.end],
  );
  return h(
    Part,
    { title: plain(name), note: `${day(window.start)} to ${day(window.end)}` },
    h(Shown, { state }, ({ distribution, note, scores }) =>
      h(
        UI.Box,
        null,
        distribution &&
          h(
            UI.Box,
            { mb: 4 },
            h(UI.HStack, { gap: 4, mb: 2, fontSize: "sm" },
              h(UI.HStack, { gap: 1 }, h(UI.Box, { w: 3, h: 3, style: { background: colours.reference } }), `reference, ${number(distribution.reference.rows)} rows`),
              h(UI.HStack, { gap: 1 }, h(UI.Box, { w: 3, h: 3, style: { background: colours.current } }), `this window, ${number(distribution.current.rows)} rows`)),
            h(Overlay, { column: distribution }),
            h(UI.Text, { fontSize: "sm" }, `missing: ${share(distribution.reference.missing)} in the reference, ${share(distribution.current.missing)} here`),
            distribution.new_categories.length > 0 &&
              h(UI.Wrap, { gap: 1, mt: 1 }, h(UI.Text, { fontSize: "sm" }, "new categories:"),
                distribution.new_categories.map((each) => h(Mark, { key: each, word: each, palette: "purple" })))),
        note && h(Note, null, plain(note)),
        h(Table, {
          caption: `Scores of ${plain(name)}`,
          heads: ["Detector", "Number", "Threshold", "Effect", "Verdict"],
          rows: scores.map((score, index) => ({
            key: index,
            cells: [
              plain(score.detector),
              score[score.measure] === null ? plain(score.note || "not measured") : `${score.measure.replace("_", "-")} ${number(score[score.measure])}`,
              `${score.measure === "statistic" ? "above" : "below"} ${number(score.threshold)}`,
              number(score.effect),
              score.seasonal ? "as in the same season before" : h(Mark, beyond(score)),
            ],
          })),
        }),
      ),
    ),
  );
}

function beyond(score) {
  const value = score[score.measure];
  if (value === null) return { word: "inconclusive" };
  const far = score.measure === "statistic" ? value > score.threshold : value < score.threshold;
  const small = score.minimum_effect > 0 && (score.effect === null || Math.abs(score.effect) < score.minimum_effect);
  return far && !small ? { word: "drift", palette: "red" } : { word: "quiet" };
}

function Drift({ dagId }) {
  const [search, setSearch] = useState("");
  const [offset, setOffset] = useState(0);
  const [chosen, choose] = useState(null);
  const state = useData(() => read(`dags/${dagId}/drift`, { search, offset, limit: PAGE }), [dagId, search, offset]);
  const find = (text) => {
    setSearch(text);
    setOffset(0);
  };
  return h(
    Page,
    { title: "Drift", note: `Each look at ${plain(modelOf(dagId))}, oldest to newest`, actions: h(Search, { label: "Search columns", value: search, set: find }) },
    h(Shown, { state }, (map) =>
      h(
        UI.Box,
        null,
        map.windows.length === 0 && h(Note, null, "No window was looked at yet: the watch DAG waits for the next complete one."),
        map.windows.length > 0 && map.columns.length === 0 && h(Note, null, search ? "No measured column has this in its name." : "No detector measures a column of this model."),
        map.columns.length > 0 &&
          h(Part, { title: "Columns by windows", note: "How far each column lies from its reference. ! is beyond the threshold, hatched could not be measured. Choose a square to see its values." },
            h(UI.Flex, { gap: 8, wrap: "wrap", align: "start" },
              h(UI.Box, { maxW: "100%" }, h(HeatMap, { map, chosen, choose })),
              chosen && h(UI.Box, { flex: "1 1 420px", minW: 0, "aria-live": "polite" }, h(Detail, { key: `${chosen.name} ${chosen.window.end}`, dagId, chosen })))),
        h(Pager, { offset, step: PAGE, total: map.total, what: " columns", move: setOffset }),
        map.lines.length > 0 &&
          h(Part, { title: "Quality of the champion", note: "Blue is its interval, the dashed line the limit of the model file" },
            h(UI.SimpleGrid, { minChildWidth: "360px", gap: 4 },
              map.lines.map((line) =>
                h(UI.Box, { key: `${line.metric}${line.rule}${line.line}${line.slice}` },
                  h(UI.Text, { fontSize: "sm" }, `${plain(line.metric)}, ${line.line}${line.slice ? `, ${plain(line.slice)}` : ""}`),
                  h(QualityLine, { line, width: 360, height: 110, axis: true }))))),
      ),
    ),
  );
}

globalThis.AirflowPlugin = Drift;
